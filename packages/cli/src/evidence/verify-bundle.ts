import type { X509Certificate } from 'node:crypto';
import {
  type BundleFiles,
  type BundleReport,
  type BundleTrust,
  logPath,
  manifestName,
  pageName,
  places,
  verifyBundle,
} from '@csc-fleet/common/audit-bundle';
import { parseKeyRing } from '@csc-fleet/common/crypto';
import { CscError, orThrow, showInvisible } from '@csc-fleet/common/errors';
import { parseCertificates } from '@csc-fleet/common/evidence';
import { type LogTrust, toLogTrust } from '@csc-fleet/common/tlog';
import { version } from '@csc-fleet/common/version';
import { exitCodes } from '../action/exit-codes.ts';
import type { DemandedLog, GateOptions } from '../connect/gate-options.ts';
import { findDemandedLog } from '../connect/owners-log.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';
import { readBundle, readPageHash } from './bundle.ts';
import { describeFaults, type EvidenceFault } from './describe-faults.ts';
import { describeOwners, ownersToJson, readOwners } from './owners.ts';
import { fitsPage, hashOfPage, toPage } from './page.ts';
import { describeDomains, readTrustFiles, ringBy, type Trust } from './trust.ts';

export interface VerifyBundleOptions
  extends Pick<GateOptions, 'logVkey' | 'logOf' | 'witnessVkey' | 'witnessQuorum' | 'ownersRoot'> {
  readonly fleetCa?: string;
  readonly keys: readonly string[];
  /** Whose executors count. Absent: those of one, which is named. */
  readonly trustDomain?: readonly string[];
  readonly json?: true;
  /** Where to write a page of this csc's own with the bundle in it. */
  readonly page?: string;
}

/** Verifies the folder and prints what came of it. Resolves to 0, or 1 where something does not hold. */
export async function verifyBundleFolder(dir: string, options: VerifyBundleOptions): Promise<number> {
  const files = readBundle(dir);
  if (options.page !== undefined && !fitsPage(files))
    throw new CscError('REQUEST_INVALID', 'this bundle is too large for a page: leave --page out');
  const trust = toTrust(files, options);
  const signed = options.ownersRoot === undefined ? undefined : await readOwners(files, options.ownersRoot);
  const verified = await verifyBundle(files, trust.ringFor, {
    logTrust: await toTrustOfLog(files, options, signed?.log),
    owners: signed?.word,
    trustDomains: options.trustDomain,
  });
  const page = judgePage(files, readPageHash(dir), verified);
  const report = { ...verified, faults: [...verified.faults, ...page.faults] };
  if (options.page !== undefined) writeFileWhole(options.page, toPage(asListed(files, report.manifest)));
  if (options.json === true) await writeJson({ ...toJson(report), trust: trust.said, page: page.is });
  else
    await writeOut(
      describe(report, trust.said, [
        ...describeOwners(report, hasRepository(files)),
        ...describeAbsentLog(report, signed?.log),
        ...page.notes,
      ]),
    );
  return report.faults.length === 0 ? exitCodes.ok : exitCodes.no;
}

interface PageReport {
  /** Whether it is what this csc makes of the files. */
  readonly is: 'own' | 'other' | 'absent';
  readonly faults: BundleReport['faults'];
  readonly notes: readonly string[];
}

/**
 * The manifest cannot list the page, which holds the manifest; so the page is compared, byte by byte, with the one that
 * this csc makes of the files. A page of another version differs, and so does one of files that were changed: it is a
 * fault only where nothing else explains the difference.
 */
function judgePage(
  files: BundleFiles,
  sha256: string | undefined,
  { manifest, faults }: BundleReport,
): PageReport {
  const anew = 'csc audit verify-bundle --page FILE writes one';
  if (sha256 === undefined) return { is: 'absent', faults: [], notes: [`${pageName} is not there: ${anew}`] };
  if (hashOfPage(asListed(files, manifest)) === sha256) return { is: 'own', faults: [], notes: [] };
  const message = `${pageName} is not the page that this csc makes of these files: it was changed, or another build of csc has made it. Do not count on what it shows; ${anew}`;
  const isFault = faults.length === 0 && manifest?.software === `csc ${version}`;
  return isFault
    ? { is: 'other', faults: [{ kind: 'page', message }], notes: [] }
    : { is: 'other', faults: [], notes: [message.replace('is not', 'IS NOT')] };
}

// As they were put into a page when the bundle was made: the manifest lists them in that order, and comes last itself.
function asListed(files: BundleFiles, manifest: BundleReport['manifest']): BundleFiles {
  const paths = [...(manifest?.files.map(({ path }) => path) ?? []), manifestName, ...files.keys()];
  return new Map(
    paths.flatMap((path) => {
      const bytes = files.get(path);
      return bytes === undefined ? [] : [[path, bytes] as const];
    }),
  );
}

/** What receipts are verified with, and in words, with who says so. */
interface BelievedTrust {
  readonly ringFor: BundleTrust;
  readonly said: string;
}

function toTrust(files: BundleFiles, options: VerifyBundleOptions): BelievedTrust {
  const isGiven = options.fleetCa !== undefined || options.keys.length > 0;
  const trust = isGiven ? readTrustFiles(options) : bundledTrust(files);
  const what = [
    ...trust.ca.map((it) => `the CA ${fingerprint(it)}`),
    ...trust.keys.map((it) => `the key ${it.keyId} of ${it.owner ?? 'nobody named'}`),
  ].join(', ');
  if (what === '')
    throw new CscError('CONFIG_INVALID', 'the bundle brings no CA and no keys: give --fleet-ca or --keys');
  return {
    ringFor: ringBy(trust),
    said: isGiven ? what : `${what}, as the bundle itself brings it: compare it`,
  };
}

function bundledTrust(files: BundleFiles): Trust {
  const [ca, keys] = [files.get(places.ca), files.get(places.keys)];
  return {
    ca: ca === undefined ? [] : parseCertificates(ca, places.ca),
    keys: keys === undefined ? [] : orThrow(parseKeyRing(keys), 'KEY_INVALID', places.keys),
  };
}

// Given, or else the owners', or else as the bundle brings it.
async function toTrustOfLog(
  files: BundleFiles,
  options: VerifyBundleOptions,
  owners: DemandedLog | undefined,
): Promise<LogTrust | undefined> {
  const given = await findDemandedLog(options);
  // Who has the receipts of hosts alone has no log to hold them against.
  const demanded =
    given ?? (files.has(logPath('checkpoint')) || files.has(places.logVkey) ? owners : undefined);
  if (demanded !== undefined) return toLogTrust(demanded);
  const own = files.get(places.logVkey);
  return own === undefined ? undefined : toLogTrust({ vkey: Buffer.from(own).toString().trim() });
}

function describeLog({ log }: BundleReport): string[] {
  if (log === undefined) return [];
  const whose = log.isSigned ? 'signed with its key' : 'WHOSE IT IS WAS NOT VERIFIED: give --log-vkey';
  const seen =
    log.cosigners === 0
      ? ''
      : `, cosigned by ${log.cosigners} witnesses${log.cosignedAt === undefined ? '' : ` at ${log.cosignedAt}`}`;
  return [
    `log ${log.origin} of ${log.size} entries, ${whose}${seen}: ${log.included} receipts are in it, ${log.outside} are older or of the last minutes, ${log.beyond} of its entries are of before or after`,
  ];
}

function describeAbsentLog({ log, faults }: BundleReport, owners: DemandedLog | undefined): string[] {
  if (owners === undefined || log !== undefined || faults.some(({ kind }) => kind === 'log')) return [];
  return [
    'THE LOG OF RECEIPTS THAT THE OWNERS NAME IS NOT IN IT: what is missing after the last receipt of a chain does not show',
  ];
}

function hasRepository(files: BundleFiles): boolean {
  return [...files.keys()].some((it) => it.startsWith(places.repository));
}

function fingerprint(certificate: X509Certificate): string {
  return `sha256:${certificate.fingerprint256.replaceAll(':', '').toLowerCase()}`;
}

function toJson(report: BundleReport): object {
  const { manifestSha256, faults, runs, chains, approvals, log } = report;
  return {
    valid: faults.length === 0,
    manifest_sha256: manifestSha256,
    faults,
    chains,
    receipts: runs.length,
    approvals,
    owners: ownersToJson(report),
    log: log ?? null,
  };
}

const mostShown = 200;

// Messages begin with the file that they are about.
function toFault({ kind, message, file = '' }: BundleReport['faults'][number]): EvidenceFault {
  const [, why] = message.startsWith(file) ? (/^:? (.*)$/s.exec(message.slice(file.length)) ?? []) : [];
  if (!file.startsWith(places.receipts) || why === undefined) return { kind, message };
  return { kind, message, receipt: { name: file, why } };
}

function describe(report: BundleReport, trust: string, owners: readonly string[]): string {
  const { manifestSha256, faults, runs, chains, approvals } = report;
  const paint = createPaint(process.stdout);
  const title = faults.length === 0 ? paint(['green', 'bold'], 'VALID') : paint(['red', 'bold'], 'INVALID');
  const told = describeFaults(faults.map(toFault));
  const lines = [
    `${runs.length} receipts verified with ${trust}`,
    `manifest sha256:${manifestSha256 ?? 'none'}`,
    ...(approvals.signed + approvals.unknown === 0
      ? []
      : [
          `${approvals.signed} approvals signed by keys of approvers.yaml in repository/, ${approvals.unknown} by keys that none here names`,
        ]),
    ...owners,
    ...describeLog(report),
    ...chains.map(
      (it) =>
        `executor ${it.executor}, ${describeDomains(it.trustDomains)}, epoch ${it.epoch}: receipts ${it.first} to ${it.last}`,
    ),
    ...told.slice(0, mostShown).map(showInvisible),
    ...(told.length > mostShown ? [`and ${told.length - mostShown} more`] : []),
  ];
  return `${title}\n${lines.map((line) => `  ${plainLine(line)}\n`).join('')}`;
}

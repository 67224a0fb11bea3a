import type { X509Certificate } from 'node:crypto';
import { type BundleReport, type BundleTrust, places, verifyBundle } from '@csc-fleet/common/audit-bundle';
import { createKeyRing, type KeyRing, parseKeyRing, readKeyRing } from '@csc-fleet/common/crypto';
import { CscError, orThrow, showInvisible } from '@csc-fleet/common/errors';
import { certifiedKey, type FleetCa, parseCertificates } from '@csc-fleet/common/evidence';
import { readPem } from '@csc-fleet/common/files';
import { type LogTrust, toLogTrust } from '@csc-fleet/common/tlog';
import { exitCodes } from '../action/exit-codes.ts';
import { type GateOptions, resolveLog } from '../connect/gate-options.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';
import { readBundle } from './bundle.ts';
import { fitsPage, toPage } from './page.ts';

export interface VerifyBundleOptions extends Pick<GateOptions, 'logVkey' | 'witnessVkey' | 'witnessQuorum'> {
  readonly fleetCa?: string;
  readonly keys: readonly string[];
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
  const report = await verifyBundle(files, trust.ringFor, {
    logTrust: toTrustOfLog(files, options),
  });
  if (options.page !== undefined) writeFileWhole(options.page, toPage(files));
  if (options.json === true) await writeJson({ ...toJson(report), trust: trust.said });
  else await writeOut(describe(report, trust.said, describeOwners(files)));
  return report.faults.length === 0 ? exitCodes.ok : exitCodes.no;
}

interface Trust {
  readonly ringFor: BundleTrust;
  /** In words: what it was verified with, and who says so. */
  readonly said: string;
}

function toTrust(files: ReadonlyMap<string, Uint8Array>, { fleetCa, keys }: VerifyBundleOptions): Trust {
  const isGiven = fleetCa !== undefined || keys.length > 0;
  const caBytes = isGiven
    ? fleetCa === undefined
      ? undefined
      : readPem(fleetCa, '--fleet-ca', 1024 * 1024).bytes
    : files.get(places.ca);
  const keysBytes = isGiven ? undefined : files.get(places.keys);
  const ca = caBytes === undefined ? undefined : parseCertificates(caBytes, fleetCa ?? places.ca);
  const pinned = createKeyRing([
    ...keys.flatMap((file) => readKeyRing(file).entries()),
    ...(keysBytes === undefined ? [] : orThrow(parseKeyRing(keysBytes), 'KEY_INVALID', places.keys)),
  ]);
  const what = [
    ...(ca ?? []).map((it) => `the CA ${fingerprint(it)}`),
    ...pinned.entries().map((it) => `the key ${it.keyId} of ${it.owner ?? 'nobody named'}`),
  ].join(', ');
  if (what === '')
    throw new CscError('CONFIG_INVALID', 'the bundle brings no CA and no keys: give --fleet-ca or --keys');
  return {
    ringFor: toRingFor(ca, pinned),
    said: isGiven ? what : `${what}, as the bundle itself brings it: compare it`,
  };
}

// Given, or else as the bundle brings it.
function toTrustOfLog(
  files: ReadonlyMap<string, Uint8Array>,
  options: VerifyBundleOptions,
): LogTrust | undefined {
  const given = resolveLog(options, process.env);
  if (given !== undefined) return toLogTrust(given);
  const own = files.get(places.logVkey);
  return own === undefined ? undefined : toLogTrust({ vkey: Buffer.from(own).toString().trim() });
}

function describeLog({ log }: BundleReport): string[] {
  if (log === undefined) return [];
  const whose = log.isSigned ? 'signed with its key' : 'WHOSE IT IS WAS NOT VERIFIED: give --log-vkey';
  const seen = log.cosigners === 0 ? '' : `, cosigned by ${log.cosigners} witnesses`;
  return [
    `log ${log.origin} of ${log.size} entries, ${whose}${seen}: ${log.included} receipts are in it, ${log.outside} are older or of the last minutes, ${log.beyond} of its entries are of before or after`,
  ];
}

// An approver's key is taken from there, and who put it there nobody has looked at.
function describeOwners(files: ReadonlyMap<string, Uint8Array>): string[] {
  const isThere = [...files.keys()].some((it) => it.startsWith(places.repository));
  return isThere
    ? ['repository/: THAT THE OWNERS SIGNED IT WAS NOT VERIFIED, nor that the policies are of it']
    : [];
}

function fingerprint(certificate: X509Certificate): string {
  return `sha256:${certificate.fingerprint256.replaceAll(':', '').toLowerCase()}`;
}

function toRingFor(ca: FleetCa | undefined, pinned: KeyRing): BundleTrust {
  return (texts) => {
    const certified = ca === undefined ? undefined : certifiedKey(texts, ca);
    return certified === undefined ? pinned : createKeyRing([certified]);
  };
}

function toJson({ manifestSha256, faults, runs, chains, approvals, log }: BundleReport): object {
  return {
    valid: faults.length === 0,
    manifest_sha256: manifestSha256,
    faults,
    chains,
    receipts: runs.length,
    approvals,
    log: log ?? null,
  };
}

const mostShown = 200;

function describe(report: BundleReport, trust: string, owners: readonly string[]): string {
  const { manifestSha256, faults, runs, chains, approvals } = report;
  const paint = createPaint(process.stdout);
  const title = faults.length === 0 ? paint(['green', 'bold'], 'VALID') : paint(['red', 'bold'], 'INVALID');
  const shown = faults.slice(0, mostShown).map(({ kind, message }) => `${kind}: ${showInvisible(message)}`);
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
    ...chains.map((it) => `executor ${it.executor}, epoch ${it.epoch}: receipts ${it.first} to ${it.last}`),
    ...shown,
    ...(faults.length > mostShown ? [`and ${faults.length - mostShown} more`] : []),
  ];
  return `${title}\n${lines.map((line) => `  ${plainLine(line)}\n`).join('')}`;
}

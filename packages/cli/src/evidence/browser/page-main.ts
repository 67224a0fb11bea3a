// The program of the page in an audit bundle: verifies what is in the page and shows it. Bundled by scripts/publish-page.ts.
import {
  type ApprovalStanding,
  type BundleFault,
  type BundleProgress,
  type BundleReport,
  type BundleRun,
  type BundleTrust,
  places,
  textAt,
  verifyBundle,
} from '@csc-fleet/common/audit-bundle';
import { createKeyRing, parseKeyRing } from '@csc-fleet/common/crypto';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { orThrow, showInvisible } from '@csc-fleet/common/errors';
import { type LogTrust, toLogTrust } from '@csc-fleet/common/tlog';
import { Buffer } from './buffer.ts';
import { certifiedRing, parsePem } from './certificates.ts';
import { byClass, byId, classed, type Element, element } from './dom.ts';
import { type Item, listing } from './listing.ts';

// Long ones come in parts, one after another.
async function readFiles(pause: () => Promise<void> | undefined): Promise<Map<string, Uint8Array>> {
  const parts = new Map<string, Uint8Array[]>();
  for (const batch of byClass('bundle')) {
    const entries: [string, string][] = JSON.parse(batch.textContent ?? '[]');
    for (const [path, base64] of entries) {
      const own = parts.get(path) ?? [];
      own.push(Buffer.from(base64, 'base64'));
      parts.set(path, own);
      await pause();
    }
    batch.replaceChildren();
  }
  return new Map([...parts].map(([path, own]) => [path, new Uint8Array(Buffer.concat(own))]));
}

interface Trust {
  readonly ringFor: BundleTrust;
  readonly logTrust: LogTrust | undefined;
  readonly said: readonly string[];
}

function readTrust(files: ReadonlyMap<string, Uint8Array>): Trust {
  const [caFile, keysFile] = [files.get(places.ca), files.get(places.keys)];
  const ca = caFile === undefined ? [] : parsePem(new TextDecoder().decode(caFile));
  const entries = keysFile === undefined ? [] : orThrow(parseKeyRing(keysFile), 'KEY_INVALID', places.keys);
  const pinned = createKeyRing(entries);
  const logVkey = files.get(places.logVkey);
  const vkey = logVkey === undefined ? undefined : new TextDecoder().decode(logVkey).trim();
  return {
    logTrust: vkey === undefined ? undefined : toLogTrust({ vkey }),
    ringFor: async (texts) =>
      (ca.length === 0 ? undefined : await certifiedRing(texts, ca, entries)) ?? pinned,
    said: [
      ...(vkey === undefined ? [] : [`log ${vkey}`]),
      ...ca.map((it) => `CA ${it.subject}, sha256:${sha256Hex(new Uint8Array(it.rawData))}`),
      ...entries.map(
        (it) =>
          `key ${it.keyId} of ${it.owner ?? 'nobody named'}: ${Buffer.from(it.publicKey).toString('hex')}`,
      ),
    ],
  };
}

// A character that nobody sees, or that turns the direction of others, is shown as what it is.
const plain = (text: string): string => showInvisible(text).replaceAll('\n', ' ');
const cell = (...lines: string[]): Element =>
  element('td', ...lines.flatMap((line) => [element('div', plain(line))]));

function row({ receipt, isSigned, hasPolicy, keyId, standings }: BundleRun, isFaulty: boolean): Element {
  const { policy_version: version, policy_sha256: policy = '' } = receipt;
  const approvals = receipt.approvals.map((it, index) => describeApproval(it, standings[index]));
  const ended =
    receipt.exit_code === undefined ? receipt.ended : `${receipt.ended}, exit code ${receipt.exit_code}`;
  return classed(
    isFaulty ? 'bad' : '',
    'tr',
    cell(receipt.ended_at, `began ${receipt.started_at}`),
    cell(receipt.principal ?? 'not said', isSigned ? 'signed by the submitter' : 'as its gate said'),
    cell(receipt.contract_id, `execution ${receipt.execution_id}`, `contract ${receipt.contract_sha256}`),
    cell(receipt.executor_id ?? '', `receipt ${receipt.sequence ?? '?'}, key ${keyId}`),
    cell(
      version === undefined ? receipt.policy_profile : `${receipt.policy_profile}, version ${version}`,
      `sha256 ${policy}`,
      hasPolicy ? 'its text is in the bundle' : 'its text is not in the bundle',
    ),
    cell(...(approvals.length === 0 ? ['nobody: none was needed'] : approvals)),
    cell(receipt.status, ended, ...(receipt.error === undefined ? [] : [receipt.error])),
    cell('signature verified'),
  );
}

// A broken glass is no approval, and what nobody signed is a gate's word.
function describeApproval(
  { kind, approver, group, approval_id: id }: BundleRun['receipt']['approvals'][number],
  standing: ApprovalStanding | undefined,
): string {
  if (standing === undefined && kind !== 'break_glass')
    return `${approver}, unsigned: as its gate said (${id})`;
  const who = `${approver} of ${group ?? '?'} (${id}): ${describeStanding(standing)}`;
  return kind === 'break_glass' ? `GLASS BROKEN, without approval, by ${who}` : who;
}

function describeStanding(standing: ApprovalStanding | undefined): string {
  if (standing === undefined) return 'unsigned: as its gate said';
  if (standing.kind === 'signed') return 'signature verified';
  if (standing.kind === 'fault') return `NOT VERIFIED — ${standing.why}`;
  return 'NOT VERIFIED: by no key that an approvers.yaml here names for this person and group';
}

function describeApprovals({ approvals: { signed, unknown } }: BundleReport): string {
  return `${signed} approvals signed by keys of approvers.yaml in repository/, ${unknown} by keys that none here names.`;
}

function faultRow({ file = '', message }: BundleFault): Element {
  const wide = element('td', plain(`${file}: NOT VERIFIED — ${message}`));
  Object.assign(wide, { colSpan: 8 });
  return classed('bad', 'tr', wide);
}

const heads = ['when', 'who', 'what', 'where', 'policy', 'approved by', 'result', 'receipt'];

function table(headings: readonly string[], rows: readonly Item[]): Element[] {
  const head = element('thead', element('tr', ...headings.map((text) => element('th', text))));
  const body = element('tbody');
  return listing(rows, body, element('table', head, body));
}

function toFaults(faults: readonly BundleFault[]): Element[] {
  const lines = faults.map(({ kind, message }) => {
    const text = `${kind}: ${message}`;
    return { text, make: () => element('li', plain(text)) };
  });
  return listing(lines, classed('faults', 'ul'));
}

// What does not hold comes first, wherever it ended.
function toRows(runs: readonly BundleRun[], faults: readonly BundleFault[]): Item[] {
  const unverified = faults.filter(({ file }) => file?.startsWith(places.receipts));
  const faulty = new Set(unverified.map(({ file }) => file));
  const verified = new Set(runs.map(({ file }) => file));
  return [
    ...unverified
      .filter(({ file = '' }) => !verified.has(file))
      .map((it) => ({ text: `${it.file} ${it.message}`, make: () => faultRow(it) })),
    ...[true, false].flatMap((isFaulty) =>
      runs
        .filter(({ file }) => faulty.has(file) === isFaulty)
        .map((run) => ({ text: textOf(run), make: () => row(run, isFaulty) })),
    ),
  ];
}

function textOf({ receipt: it, file, keyId, standings }: BundleRun): string {
  const approvals = it.approvals.map((one, index) => describeApproval(one, standings[index]));
  return [
    ...[
      file,
      keyId,
      it.ended_at,
      it.principal,
      it.contract_id,
      it.execution_id,
      it.contract_sha256,
      it.executor_id,
    ],
    ...[it.policy_profile, it.policy_sha256, it.status, it.ended, it.error, ...approvals],
  ].join(' ');
}

function show(report: BundleReport, trust: readonly string[]): Element[] {
  const { faults, runs, chains, rows, manifest, manifestSha256 } = report;
  const verdict =
    faults.length === 0
      ? classed(
          'verdict good',
          'p',
          `All ${runs.length} receipts verify, and no receipt is missing between others.`,
        )
      : classed(
          'verdict bad',
          'p',
          `${faults.length} faults: this bundle does not hold. ${runs.length} receipts verify.`,
        );
  const chainRows = chains.map(({ executor, trustDomains, epoch, first, last, faults: bad }) => {
    const domains = trustDomains.join(', ') || 'not said';
    const line = (): Element =>
      classed(
        bad === 0 ? '' : 'bad',
        'tr',
        cell(executor, `trust domain ${domains}`),
        cell(epoch),
        cell(`${first} to ${last}`),
        cell(bad === 0 ? 'whole' : `${bad} faults`),
      );
    return { text: `${executor} ${domains} ${epoch}`, make: line };
  });
  const auditRows = rows.map((it) => ({
    text: JSON.stringify(it),
    make: () =>
      element(
        'tr',
        cell(toTime(it['time'])),
        cell(textAt(it, 'metadata', 'event_code') ?? ''),
        cell(textAt(it, 'actor', 'user', 'uid') ?? ''),
        cell(textAt(it, 'unmapped', 'principal') ?? ''),
        cell(textAt(it, 'metadata', 'correlation_uid') ?? ''),
        cell(textAt(it, 'status_detail') ?? '', textAt(it, 'message') ?? ''),
      ),
  }));
  return [
    element('h1', 'CSC audit bundle'),
    verdict,
    ...(faults.length === 0 ? [] : [element('h2', 'What does not hold'), ...toFaults(faults)]),
    element('h2', 'Who ran what'),
    ...table(heads, toRows(runs, faults)),
    element('h2', 'Chains'),
    element('p', 'What came before the first receipt and after the last, receipts alone do not tell.'),
    ...table(['executor', 'epoch', 'receipts', 'chain'], chainRows),
    element('p', plain(describeLog(report))),
    element('p', describeApprovals(report)),
    element('p', ownersSaid),
    element('h2', 'What this rests on'),
    element('p', 'Compare these with what you know from elsewhere: they are as the bundle brings them.'),
    element('ul', ...trust.map((it) => element('li', plain(it)))),
    element(
      'p',
      `manifest sha256:${manifestSha256 ?? 'none'}, made ${manifest?.made_at ?? '?'} by ${plain(manifest?.software ?? '?')}`,
    ),
    ...(rows.length === 0
      ? []
      : [element('h2', 'The gate’s audit, which is its word'), ...table(auditHeads, auditRows)]),
  ];
}

const ownersSaid =
  'That the owners have signed policies/ and repository/, who may approve and what is revoked, no page verifies: csc audit verify-bundle --owners-root does.';

function describeLog({ log }: BundleReport): string {
  if (log === undefined) return 'No log of receipts that holds is in the bundle.';
  const whose = log.isSigned ? 'signed with the key below' : 'whose it is was not verified';
  return `The log ${log.origin} of ${log.size} entries, ${whose}: ${log.included} receipts are in it, ${log.outside} are older or of the last minutes, ${log.beyond} of its entries are of before or after.`;
}

const auditHeads = ['when', 'what', 'by', 'for', 'execution', 'outcome'];

function toTime(value: unknown): string {
  return typeof value === 'number' && Number.isSafeInteger(value) && Math.abs(value) < 8.64e15
    ? new Date(value).toISOString()
    : '';
}

/** Lets the browser live: ends its turn after 50 ms, and says how far it is. */
function createPause(): (progress?: BundleProgress) => Promise<void> | undefined {
  let since = performance.now();
  return (progress) => {
    if (performance.now() - since < 50) return undefined;
    const said =
      progress === undefined ? 'Reading …' : `Verifying ${progress.what}: ${progress.done} of ${progress.of}`;
    byId('report').replaceChildren(element('p', said));
    return new Promise((resolve) =>
      setTimeout(() => {
        since = performance.now();
        resolve();
      }),
    );
  };
}

async function main(): Promise<void> {
  const pause = createPause();
  const files = await readFiles(pause);
  const trust = readTrust(files);
  const report = await verifyBundle(files, trust.ringFor, { pause, logTrust: trust.logTrust });
  const main = byId('report');
  main.replaceChildren(...show(report, trust.said));
  main.className = report.faults.length === 0 ? 'done holds' : 'done faulty';
}

main().catch((error: unknown) => {
  const what = error instanceof Error ? error.message : 'it failed';
  const main = byId('report');
  main.replaceChildren(classed('verdict bad', 'p', plain(`This bundle cannot be verified: ${what}`)));
  main.className = 'done faulty';
});

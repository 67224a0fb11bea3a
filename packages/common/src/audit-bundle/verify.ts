import type { KeyRing } from '../crypto/index.ts';
import {
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  sha256Hex,
} from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import {
  type ChainEntry,
  judgeTrustDomains,
  type ReceiptTexts,
  verifyReceiptFor,
  walkChains,
} from '../evidence/index.ts';
import { parseIdentity } from '../identity/index.ts';
import type { ReceiptV02 } from '../receipt/index.ts';
import type { LogTrust } from '../tlog/index.ts';
import { type ApprovalStanding, judgeUsedApproval } from './approvals.ts';
import type { BundleFault, BundleFiles } from './fault.ts';
import { type BundleLog, type BundleSpan, checkLog } from './log.ts';
import { type Manifest, manifestName, pageName, parseManifest, places } from './manifest.ts';
import {
  type ApprovalJudge,
  type BundleOwners,
  checkOwners,
  type OwnersWord,
  unverifiedJudge,
} from './owners.ts';

/** What receipts are verified with. Throws RECEIPT_INVALID where a receipt's certificates do not prove whose it is. */
export type BundleTrust = (texts: ReceiptTexts) => KeyRing | Promise<KeyRing>;

/** A run, as its receipt tells it. Only members of verified receipts are here. */
export interface BundleRun {
  readonly file: string;
  readonly receipt: ReceiptV02;
  readonly keyId: string;
  /** Whether a submission of its principal stands behind it: otherwise who it was for is what a gate said. */
  readonly isSigned: boolean;
  /** Whether the text of the policy that it was decided by is in the bundle. */
  readonly hasPolicy: boolean;
  /** Of each of the receipt's approvals, in its order. Undefined: nobody has signed that one. */
  readonly standings: readonly (ApprovalStanding | undefined)[];
}

/** An executor's receipts of one epoch. */
export interface BundleChain {
  readonly executor: string;
  readonly epoch: string;
  /** Of whoever has signed them; none where nothing says, and more than one is a fault. */
  readonly trustDomains: readonly string[];
  readonly first: number;
  readonly last: number;
  readonly faults: number;
}

export interface BundleReport {
  readonly manifest: Manifest | undefined;
  /** Lower-case hex: what to compare with whoever made the bundle. */
  readonly manifestSha256: string | undefined;
  /** None: all that is here holds. */
  readonly faults: readonly BundleFault[];
  /** In the order in which they ended. */
  readonly runs: readonly BundleRun[];
  readonly chains: readonly BundleChain[];
  /** Of approvals that somebody has signed: by a key of an approvers.yaml in `repository/`, or by none of those. */
  readonly approvals: { readonly signed: number; readonly unknown: number };
  /** What was held against the owners' root. Undefined: nothing was, and `repository/` is the bundle's own word. */
  readonly owners: BundleOwners | undefined;
  /** Undefined: no log is in it, or it does not hold. */
  readonly log: BundleLog | undefined;
  /** Lines of the gate's audit, which is its word. */
  readonly rows: readonly JsonObject[];
}

/** How far verifying has come: with how many of what. */
export interface BundleProgress {
  readonly what: 'files' | 'receipts' | 'records of the audit' | 'entries of the log' | 'approvals';
  readonly done: number;
  readonly of: number;
}

type Pause = (progress: BundleProgress) => Promise<void> | undefined;

/** What a bundle is verified with beside the keys of receipts. */
export interface BundleChecks {
  /** Awaited between files, receipts and records, so that a page stays alive. Absent: no pause. */
  readonly pause?: Pause;
  /** Whose log it must be, and who must have seen it. Absent: a log that is here is anybody's, and none need be. */
  readonly logTrust?: LogTrust | undefined;
  /** What of `repository/` the owners have signed. Absent: nobody has verified that. */
  readonly owners?: OwnersWord | undefined;
  /** Whose executors count. Absent: those of one, whichever that is. */
  readonly trustDomains?: readonly string[] | undefined;
  /** What time it is: nothing was cosigned later. Absent: as the system has it. */
  readonly now?: Date;
}

/**
 * Verifies everything in a bundle: hashes, signatures, whose the keys are, and that each chain is whole from its first
 * to its last receipt in it. Never rejects for what is in a bundle: whatever does not hold is a fault.
 */
export async function verifyBundle(
  files: BundleFiles,
  ringFor: BundleTrust,
  { pause = () => undefined, logTrust, owners: word, trustDomains, now = new Date() }: BundleChecks = {},
): Promise<BundleReport> {
  const faults: BundleFault[] = [];
  const manifestJson = files.get(manifestName);
  const manifest = readManifest(manifestJson, faults);
  if (manifest !== undefined) await checkFiles(manifest, files, faults, pause);
  await checkPolicies(files, faults, pause);
  const entries: (ChainEntry & { readonly keyId: string })[] = [];
  let done = 0;
  for (const [file, receiptJson] of files) {
    done += 1;
    if (!file.startsWith(places.receipts) || file.endsWith(projectionEnd)) continue;
    const opened = await openReceipt(file, receiptJson, files, { ringFor, trustDomains });
    if ('kind' in opened) faults.push(opened);
    else entries.push(opened);
    await pause({ what: 'receipts', done, of: files.size });
  }
  const chains = walkChains(entries);
  // One by one: a call takes no more arguments than the stack has room for, and whoever made the bundle chooses how
  // many there are.
  for (const fault of chains.flatMap((it) => it.faults)) faults.push(fault);
  const mixed = trustDomains === undefined ? judgeTrustDomains(chains) : undefined;
  if (mixed !== undefined) faults.push(mixed);
  const rows = await readRows(files.get(places.audit), faults, pause);
  checkRows(rows, entries, files, faults);
  const log = await checkLog(
    files,
    entries,
    { ...toSpan(manifest, rows), now },
    logTrust,
    faults,
    (done, of) => pause({ what: 'entries of the log', done, of }),
  );
  const held = word === undefined ? undefined : checkOwners(word, entries, faults);
  const judge = held?.judge ?? unverifiedJudge(files, faults);
  const { standings, ...approvals } = await checkApprovals(entries, judge, faults, pause);
  return {
    manifest,
    manifestSha256: manifestJson === undefined ? undefined : sha256Hex(manifestJson),
    faults,
    runs: toRuns(entries, files, standings),
    chains: chains.map(({ faults: own, ...chain }) => ({ ...chain, faults: own.length })),
    approvals,
    owners: held?.owners,
    log,
    rows,
  };
}

function toSpan(manifest: Manifest | undefined, rows: readonly JsonObject[]): Omit<BundleSpan, 'now'> {
  const numbers = rows.flatMap((row) => numberAt(row, 'metadata', 'sequence') ?? []);
  return {
    first: numbers[0],
    last: numbers.at(-1),
    firstAt: rows.reduce(
      (first, row) => Math.min(first, numberAt(row, 'time') ?? first),
      Number.POSITIVE_INFINITY,
    ),
    asked: manifest?.asked ?? {},
    madeAt: Date.parse(manifest?.made_at ?? ''),
  };
}

type Standings = ReadonlyMap<string, BundleRun['standings']>;

async function checkApprovals(
  entries: readonly ChainEntry[],
  judge: ApprovalJudge,
  faults: BundleFault[],
  pause: Pause,
): Promise<BundleReport['approvals'] & { readonly standings: Standings }> {
  const counts = { signed: 0, unknown: 0 };
  const standings = new Map<string, BundleRun['standings']>();
  for (const [at, { name: file, receipt, owner }] of entries.entries()) {
    if (receipt.approvals.length === 0) continue;
    const electorate = judge.of(receipt);
    const own = receipt.approvals.map((used) => judgeUsedApproval(used, { receipt, owner }, electorate));
    standings.set(file, own);
    for (const [index, standing] of own.entries()) {
      if (standing?.kind !== 'fault') {
        if (standing !== undefined) counts[standing.kind] += 1;
        continue;
      }
      const { approval_id: id, approver } = receipt.approvals[index] ?? {};
      const message = `${file}: the approval ${id} of ${approver}: ${standing.why}`;
      faults.push({ kind: 'approval', file, message });
    }
    await pause({ what: 'approvals', done: at + 1, of: entries.length });
  }
  return { ...counts, standings };
}

/** How the file of a v0.1 receipt ends whose original, which is in the chain, lies beside it. */
export const projectionEnd = '.projection.json';

function readManifest(bytes: Uint8Array | undefined, faults: BundleFault[]): Manifest | undefined {
  if (bytes === undefined) {
    faults.push({
      kind: 'manifest',
      message: `there is no ${manifestName}: nobody says what should be here`,
    });
    return undefined;
  }
  const parsed = parseManifest(bytes);
  if (!parsed.ok) {
    const [first] = parsed.faults;
    const why = `${first?.path ?? ''} ${first?.message ?? ''}`.trim();
    faults.push({ kind: 'manifest', file: manifestName, message: `${manifestName} cannot be read: ${why}` });
    return undefined;
  }
  for (const { execution_id: id, code, message } of parsed.value.left_out)
    faults.push({
      kind: 'left_out',
      message: `the receipt of the execution ${id} is not here: ${code}: ${message}`,
    });
  return parsed.value;
}

async function checkFiles(
  { files: listed }: Manifest,
  files: BundleFiles,
  faults: BundleFault[],
  pause: Pause,
): Promise<void> {
  const known = new Set([manifestName, pageName]);
  for (const [at, { path, bytes, sha256 }] of listed.entries()) {
    if (known.has(path)) faults.push({ kind: 'manifest', message: `${manifestName} names ${path} twice` });
    known.add(path);
    const there = files.get(path);
    if (there === undefined)
      faults.push({ kind: 'file', file: path, message: `${path} is missing: the manifest lists it` });
    else if (there.length !== bytes || sha256Hex(there) !== sha256.toLowerCase())
      faults.push({
        kind: 'file',
        file: path,
        message: `${path} is not what the manifest lists: it was changed`,
      });
    await pause({ what: 'files', done: at + 1, of: listed.length });
  }
  for (const path of files.keys())
    if (!known.has(path))
      faults.push({
        kind: 'file',
        file: path,
        message: `${path} is here, and the manifest does not list it`,
      });
}

// They are named by the hash that receipts name them by.
async function checkPolicies(files: BundleFiles, faults: BundleFault[], pause: Pause): Promise<void> {
  for (const [path, bytes] of files) {
    if (!path.startsWith(places.policies)) continue;
    await pause({ what: 'files', done: files.size, of: files.size });
    if (path === policyPath(sha256Hex(bytes))) continue;
    faults.push({ kind: 'policy', file: path, message: `${path} is not the policy that has this hash` });
  }
}

/** Where a receipt of a chain lies. */
export function receiptPath({ executor_id = '', executor_epoch = 'none', sequence = 0 }: ReceiptV02): string {
  const host = encodeURIComponent(executor_id).replace(/[^A-Za-z0-9_.%-]|^\.+/g, '_') || '_';
  return `${places.receipts}${host}/${executor_epoch}/${String(sequence).padStart(12, '0')}.json`;
}

/** Where the canonical text of a policy lies, which has this hash. */
export function policyPath(sha256: string): string {
  return `${places.policies}${sha256.toLowerCase()}.json`;
}

async function openReceipt(
  file: string,
  receiptJson: Uint8Array,
  files: BundleFiles,
  { ringFor, trustDomains }: Pick<BundleChecks, 'trustDomains'> & { readonly ringFor: BundleTrust },
): Promise<(ChainEntry & { readonly keyId: string }) | BundleFault> {
  try {
    const projection = files.get(file.replace(/\.json$/, projectionEnd));
    const texts: ReceiptTexts =
      projection === undefined ? { receiptJson } : { receiptJson: projection, originalJson: receiptJson };
    const { chained, keyId, owner } = verifyReceiptFor({ trustDomains }, texts, await ringFor(texts));
    if (chained === undefined)
      return { kind: 'unnumbered', file, message: `${file} is a v0.1 receipt, in no chain` };
    const sha256 = sha256Hex(receiptJson);
    const due = receiptPath(chained);
    if (file !== due && file !== due.replace(/\.json$/, `.other-${sha256.slice(0, 16)}.json`))
      return { kind: 'place', file, message: `${file} is the receipt whose place is ${due}` };
    // One receipt that lies here twice would count as two.
    const first = files.get(due);
    if ((first === undefined || sha256Hex(first) === sha256) && file !== due)
      return { kind: 'place', file, message: `${file} is no second receipt for the place ${due}` };
    return { name: file, receipt: chained, owner, sha256, keyId };
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    const kind = error.message.includes('certificate') ? 'certificate' : 'signature';
    return { kind, file, message: `${file}: ${error.message}` };
  }
}

async function readRows(
  bytes: Uint8Array | undefined,
  faults: BundleFault[],
  pause: Pause,
): Promise<JsonObject[]> {
  if (bytes === undefined) return [];
  const rows: JsonObject[] = [];
  let number = 0;
  for (const line of lines(bytes)) {
    number += 1;
    const json = parseStrictJson(line, { maxBytes: maxRowBytes });
    if (json.ok && isJsonObject(json.value)) rows.push(json.value);
    else
      faults.push({
        kind: 'file',
        file: places.audit,
        message: `${places.audit}: line ${number} is no record`,
      });
    await pause({ what: 'records of the audit', done: number, of: number });
  }
  return rows;
}

const maxRowBytes = 1_048_576;
const lineFeed = 10;

function* lines(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const found = bytes.indexOf(lineFeed, at);
    const end = found === -1 ? bytes.length : found;
    if (end > at) yield bytes.subarray(at, end);
    at = end + 1;
  }
}

// The gate's word counts against whoever took a receipt out, itself included: what it once told has to be here.
function checkRows(
  rows: readonly JsonObject[],
  entries: readonly ChainEntry[],
  files: BundleFiles,
  faults: BundleFault[],
): void {
  const hashes = new Map<string, Map<string, string | undefined>>();
  for (const { name, receipt, owner, sha256 } of entries) {
    const projection = files.get(name.replace(/\.json$/, projectionEnd));
    const own = hashes.get(receipt.execution_id) ?? new Map<string, string | undefined>();
    own.set(projection === undefined ? sha256 : sha256Hex(projection), owner);
    hashes.set(receipt.execution_id, own);
  }
  for (const row of rows) {
    const { id, sha256, executor } = toReceiptRow(row);
    if (sha256 === undefined || id === undefined || executor === undefined) continue;
    const here = hashes.get(id);
    if (here?.has(sha256) === true) {
      const owner = here.get(sha256);
      if (owner === undefined || owner === executor) continue;
      faults.push({
        kind: 'differs',
        message: `the audit names the receipt of the execution ${id} as one of ${executor}, and ${owner} has signed it`,
      });
      continue;
    }
    faults.push(
      here === undefined
        ? {
            kind: 'missing',
            message: `the audit names a receipt of the execution ${id}, and none is here that counts`,
          }
        : {
            kind: 'differs',
            message: `the audit names another receipt of the execution ${id} than the one that is here`,
          },
    );
  }
}

function toReceiptRow(row: JsonObject) {
  const id = textAt(row, 'metadata', 'correlation_uid');
  const actor = textAt(row, 'src_endpoint', 'name') ?? '';
  return {
    id,
    sha256: textAt(row, 'unmapped', 'receipt_sha256'),
    executor: parseIdentity(actor)?.role === 'executor' ? actor : undefined,
  };
}

/** The text at a place in a record; undefined where there is none. */
export function textAt(row: JsonObject, ...path: readonly string[]): string | undefined {
  const at = valueAt(row, path);
  return typeof at === 'string' ? at : undefined;
}

function numberAt(row: JsonObject, ...path: readonly string[]): number | undefined {
  const at = valueAt(row, path);
  return typeof at === 'number' ? at : undefined;
}

function valueAt(row: JsonObject, path: readonly string[]): JsonValue | undefined {
  let at: JsonValue | undefined = row;
  for (const name of path) at = isJsonObject(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  return at;
}

function toRuns(
  entries: readonly (ChainEntry & { readonly keyId: string })[],
  files: BundleFiles,
  standings: Standings,
): BundleRun[] {
  return entries
    .map(({ name, receipt, keyId }) => ({
      file: name,
      receipt,
      keyId,
      isSigned: receipt.submission_sha256 !== undefined,
      hasPolicy: receipt.policy_sha256 !== undefined && files.has(policyPath(receipt.policy_sha256)),
      standings: standings.get(name) ?? [],
    }))
    .sort((one, other) => Date.parse(one.receipt.ended_at) - Date.parse(other.receipt.ended_at));
}

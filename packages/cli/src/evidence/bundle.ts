import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join, relative, sep } from 'node:path';
import type { AuditOptions, GateClient } from '@csc-fleet/client';
import {
  bundleLimits,
  isBundlePath,
  logPath,
  type Manifest,
  manifestName,
  pageName,
  places,
  policyPath,
  projectionEnd,
  receiptPath,
} from '@csc-fleet/common/audit-bundle';
import { toKeyRingJson } from '@csc-fleet/common/crypto';
import {
  artifactBytes,
  canonicalBytes,
  parseStrictJson,
  sha256Hex,
  toTimestamp,
} from '@csc-fleet/common/encoding';
import { CscError, escapeInvisible, orThrow } from '@csc-fleet/common/errors';
import { makeDirectory, readBoundedFile } from '@csc-fleet/common/files';
import { parsePolicy } from '@csc-fleet/common/policy';
import { receiptFromJson } from '@csc-fleet/common/receipt';
import {
  hashLength,
  parseBundle,
  parseCheckpoint,
  parseEntry,
  type Tile,
  TreeEdge,
  tilePath,
  tileWidth,
  widthIn,
} from '@csc-fleet/common/tlog';
import { version } from '@csc-fleet/common/version';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { type GateOptions, namesGate, resolveGate } from '../connect/gate-options.ts';
import { findDemandedLog } from '../connect/owners-log.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { toOcsf } from '../show/ocsf.ts';
import { note, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { findReceipts } from './found-receipts.ts';
import { fitsPage, toPage } from './page.ts';
import { readTrustFiles } from './trust.ts';

export interface BundleOptions extends GateOptions {
  readonly out: string;
  /** Directories of receipts that hosts have exported. */
  readonly receipts: readonly string[];
  /** Directories of approvals. */
  readonly approvals: readonly string[];
  /** The published folder of a policy repository. */
  readonly policyRepository?: string;
}

/** What is put into a bundle, by its path. */
class Contents {
  readonly files = new Map<string, Uint8Array>();
  readonly leftOut: Manifest['left_out'] = [];
  /** Executions whose receipt a host has brought. */
  readonly brought = new Set<string>();
  #bytes = 0;

  /** Throws REQUEST_INVALID where it would be more than anybody reads. */
  add(path: string, bytes: Uint8Array): void {
    if (!isBundlePath(path))
      throw new CscError('FILE_UNREADABLE', `a file of this name cannot be in a bundle: ${path}`);
    if (this.files.has(path)) return;
    this.#bytes += bytes.length;
    if (this.files.size >= bundleLimits.files || this.#bytes > bundleLimits.bytes)
      throw new CscError(
        'REQUEST_INVALID',
        'this is more than one bundle holds: ask for less (--since, --until)',
      );
    this.files.set(path, bytes);
  }
}

/** Makes the folder. Resolves to 0, or to 1 where a receipt had to be left out. */
export async function makeBundle(
  filters: AuditOptions,
  asked: Readonly<Record<string, string>>,
  options: BundleOptions,
): Promise<number> {
  if (existsSync(options.out) && readdirSync(options.out).length > 0)
    throw new CscError('FILE_UNWRITABLE', `${options.out} is not empty: a bundle wants a folder of its own`);
  const contents = new Contents();
  await addTrust(contents, options);
  for (const dir of options.receipts) await addHostReceipts(contents, dir);
  for (const dir of options.approvals) addFiles(contents, dir, places.approvals, '.json');
  if (options.policyRepository !== undefined) addRepository(contents, options.policyRepository);
  const hasGate = options.receipts.length === 0 || namesGate(options, process.env);
  if (hasGate) {
    using client = connectGate(options);
    await addFromGate(contents, client, filters);
    await reportReaders(contents, client);
  }
  const manifest = toManifest(
    contents,
    asked,
    hasGate ? resolveGate(options, process.env).address : undefined,
  );
  const manifestJson = canonicalBytes(manifest);
  contents.files.set(manifestName, manifestJson);
  for (const [path, bytes] of contents.files) {
    const file = join(options.out, path);
    makeDirectory(join(file, '..'));
    writeFileWhole(file, bytes);
  }
  writeFileWhole(join(options.out, pageName), toPage(contents.files));
  const { length } = [...contents.files.keys()].filter((it) => it.startsWith(places.receipts));
  await writeOut(
    `${plainLine(`bundle of ${length} receipts in ${options.out}; its manifest is sha256:${sha256Hex(manifestJson)}`)}\n`,
  );
  if (!fitsPage(contents.files))
    note(`csc: WARNING it is too large for ${pageName}: csc audit verify-bundle verifies it, and no page`);
  for (const line of tellLeftOut(contents.leftOut)) note(plainLine(`csc: WARNING ${line}`));
  return contents.leftOut.length === 0 ? exitCodes.ok : exitCodes.no;
}

const mostLeftOutTold = 20;

/** One line for each receipt that a bundle has not, and at last one for those that are too many to be told. */
export function tellLeftOut(leftOut: Manifest['left_out']): string[] {
  const told = leftOut
    .slice(0, mostLeftOutTold)
    .map(({ execution_id, message }) => `the receipt of ${execution_id} is not in it: ${message}`);
  const more = leftOut.length - told.length;
  return more === 0 ? told : [...told, `${more} more are not in it: ${manifestName} has them all (left_out)`];
}

function toManifest(
  { files, leftOut }: Contents,
  asked: Readonly<Record<string, string>>,
  gate?: string,
): Manifest {
  return {
    bundle_version: 'csc.audit-bundle.v0.1',
    made_at: toTimestamp(new Date()),
    software: `csc ${version}`,
    ...(gate === undefined ? {} : { gate }),
    asked: { ...asked },
    files: [...files].map(([path, bytes]) => ({ path, bytes: bytes.length, sha256: sha256Hex(bytes) })),
    left_out: leftOut,
  };
}

// What the auditor holds receipts against is the auditor's: the gate is not asked for it.
async function addTrust(contents: Contents, options: BundleOptions): Promise<void> {
  const log = await findDemandedLog(options);
  if (log !== undefined) contents.add(places.logVkey, Buffer.from(`${log.vkey}\n`));
  const { ca, keys } = readTrustFiles(options);
  if (ca.length + keys.length === 0)
    throw new CscError(
      'CONFIG_INVALID',
      'a bundle is verified with --fleet-ca or --keys: give one of them, or both',
    );
  // Of that file the certificates alone: it may hold a key.
  if (ca.length > 0) contents.add(places.ca, Buffer.from(ca.join('')));
  if (keys.length > 0) contents.add(places.keys, Buffer.from(toKeyRingJson(keys)));
}

async function addHostReceipts(contents: Contents, dir: string): Promise<void> {
  for await (const { name, receiptJson } of findReceipts(dir)) {
    const json = parseStrictJson(receiptJson, { maxBytes: artifactBytes.receipt });
    const receipt = json.ok ? receiptFromJson(json.value) : json;
    if (!receipt.ok || receipt.value.receipt_version !== 'csc.receipt.v0.2')
      throw new CscError('RECEIPT_INVALID', `${join(dir, name)} is no receipt of a chain`);
    addReceipt(contents, receiptPath(receipt.value), receiptJson);
    contents.brought.add(receipt.value.execution_id);
  }
}

// Two that claim one place are both evidence.
function addReceipt(contents: Contents, path: string, bytes: Uint8Array): void {
  const there = contents.files.get(path);
  if (there === undefined || Buffer.from(there).equals(bytes)) contents.add(path, bytes);
  else contents.add(path.replace(/\.json$/, `.other-${sha256Hex(bytes).slice(0, 16)}.json`), bytes);
}

function addFiles(contents: Contents, dir: string, place: string, end: string): void {
  for (const [name, bytes] of filesBelow(dir)) if (name.endsWith(end)) contents.add(`${place}${name}`, bytes);
}

// As it is published, so that TUF's own clients verify it; and each profile by the hash that receipts name.
function addRepository(contents: Contents, dir: string): void {
  for (const [name, bytes] of filesBelow(dir)) {
    contents.add(`${places.repository}${name}`, bytes);
    if (/\.ya?ml$/.test(name)) addPolicy(contents, bytes);
  }
}

function addPolicy(contents: Contents, yaml: Uint8Array): void {
  const parsed = parsePolicy(yaml);
  // As written, which is what the hash is of: what is left out of it is not filled in.
  if (parsed.ok)
    contents.add(
      policyPath(parsed.value.sha256),
      canonicalBytes(parsed.value.written ?? { ...parsed.value.policy }),
    );
}

function* filesBelow(
  dir: string,
  maxBytes: number = artifactBytes.ownersFile,
): Generator<[string, Uint8Array]> {
  if (!existsSync(dir) || !statSync(dir).isDirectory())
    throw new CscError('FILE_UNREADABLE', `there is no directory ${dir}`);
  for (const it of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!it.isFile()) continue;
    const path = join(it.parentPath, it.name);
    const { bytes } = readBoundedFile(path, { maxBytes });
    yield [relative(dir, path).split(sep).join('/'), bytes];
  }
}

const atOnce = 4;

async function addFromGate(contents: Contents, client: GateClient, filters: AuditOptions): Promise<void> {
  const rows: string[] = [];
  const ids = new Set<string>();
  let first: number | undefined;
  for await (const record of client.audit(filters)) {
    first ??= record.sequence;
    rows.push(`${escapeInvisible(JSON.stringify(toOcsf(record)))}\n`);
    if (record.receiptSha256 !== '' && isExecutor(record.actor)) ids.add(record.executionId);
  }
  contents.add(places.audit, Buffer.from(rows.join('')));
  const queue = [...ids].values();
  await Promise.all(Array.from({ length: atOnce }, () => addEach(contents, client, queue)));
  for (const { policySha256, policyJson } of await client.profiles())
    if (sha256Hex(policyJson) === policySha256) contents.add(policyPath(policySha256), policyJson);
  await addLog(contents, client, first ?? Number.POSITIVE_INFINITY);
}

/**
 * The end of the gate's log: all entries from that of the audit's record `first` on, and what proves that they are of its
 * checkpoint. What it takes is read after the receipts, so that all of them can be in it.
 */
async function addLog(contents: Contents, client: GateClient, first: number): Promise<void> {
  const note = await client.readLogFile('checkpoint');
  if (note === undefined || note.length === 0) return;
  const { size } = orThrow(parseCheckpoint(note), 'LOG_INVALID', 'the checkpoint').checkpoint;
  const read = async (tile: Tile): Promise<Buffer> => {
    const bytes = await client.readLogFile(tilePath(tile));
    if (bytes !== undefined) return bytes;
    throw new CscError(
      'LOG_INVALID',
      `the gate has no ${tilePath(tile)}, which its checkpoint of ${size} has`,
    );
  };
  const readEntries = (index: number) =>
    read({ level: 'entries', index, width: widthIn(size, 'entries', index) });
  const numberIn = async (index: number): Promise<number> => {
    const entries = orThrow(parseBundle(await readEntries(index), 1), 'LOG_INVALID', `its bundle ${index}`);
    return orThrow(parseEntry(entries[0] ?? Buffer.alloc(0)), 'LOG_INVALID', 'its entry').audit_sequence;
  };
  const count = Math.ceil(size / tileWidth);
  let begin = 0;
  for (let end = count; end - begin > 1; ) {
    const middle = Math.floor((begin + end) / 2);
    if ((await numberIn(middle)) <= first) begin = middle;
    else end = middle;
  }
  contents.add(logPath('checkpoint'), note);
  const before = begin * tileWidth;
  await TreeEdge.restore(before, async (tile) => {
    const bytes = await read({ ...tile, width: widthIn(size, tile.level, tile.index) });
    contents.add(logPath(tilePath(tile)), bytes.subarray(0, tile.width * hashLength));
    return bytes;
  });
  for (let index = begin; index < count; index += 1) {
    const tile = { level: 'entries' as const, index, width: widthIn(size, 'entries', index) };
    contents.add(logPath(tilePath(tile)), await readEntries(index));
  }
}

function isExecutor(actor: string): boolean {
  return /^spiffe:\/\/[^/]+\/executor\//.test(actor);
}

// Each takes the next of what is left.
async function addEach(contents: Contents, client: GateClient, ids: Iterable<string>): Promise<void> {
  for (const id of ids) {
    try {
      const { chained, receiptJson, originalJson } = await client.getReceipt(id);
      if (chained === undefined) throw new CscError('RECEIPT_INVALID', 'it stands in no executor’s chain');
      const path = receiptPath(chained);
      addReceipt(contents, path, originalJson.length > 0 ? originalJson : receiptJson);
      if (originalJson.length > 0) contents.add(path.replace(/\.json$/, projectionEnd), receiptJson);
    } catch (error) {
      if (!(error instanceof CscError)) throw error;
      // What its host has brought is here, whatever the gate does not give.
      if (contents.brought.has(id)) continue;
      contents.leftOut.push({ execution_id: id, code: error.code, message: error.message });
    }
  }
}

// Whoever reads the audit as an admin alone gets no receipt but their own.
async function reportReaders({ leftOut }: Contents, client: GateClient): Promise<void> {
  if (leftOut.some(({ code }) => code === 'KEY_UNKNOWN'))
    note(
      'csc: --fleet-ca knows the keys of receipts that bring a certificate of it; give others with --keys, beside it: csc executor keys --export writes them on each host',
    );
  if (!leftOut.some(({ code }) => code === 'EXECUTION_UNKNOWN')) return;
  const principal = await client.principal();
  note(
    plainLine(
      `csc: the gate gives others’ receipts to auditors alone: the owners give ${principal} the role in bindings.yaml (roles: [auditor]), or hosts’ exported receipts are put in with --receipts`,
    ),
  );
}

/** The files of a bundle's folder, as they are on disk, its page left out. Throws FILE_UNREADABLE. */
export function readBundle(dir: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let bytes = 0;
  // The audit of a week is longer than any file of an owner.
  for (const [name, content] of filesBelow(dir, bundleLimits.bytes)) {
    bytes += content.length;
    if (files.size >= bundleLimits.files || bytes > bundleLimits.bytes)
      throw new CscError('FILE_UNREADABLE', `${basename(dir)} is more than a bundle holds`);
    if (name !== pageName) files.set(name, content);
  }
  return files;
}

/** Lower-case hex, of the page that is in the folder of a bundle. Undefined: there is none. Throws FILE_UNREADABLE. */
export function readPageHash(dir: string): string | undefined {
  const file = join(dir, pageName);
  if (!existsSync(file)) return undefined;
  return sha256Hex(readBoundedFile(file, { maxBytes: bundleLimits.bytes }).bytes);
}

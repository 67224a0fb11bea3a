import { hash } from 'node:crypto';
import { CscError } from '../errors/index.ts';

/** Bytes of a hash of the tree. */
export const hashLength = 32;

/** More proof hashes than a tree of 2^53 leaves needs are refused unread, as tlog-witness has it. */
export const maxProofHashes = 63;

/** The hash of a leaf with these bytes (RFC 6962 §2.1). */
export function leafHash(entry: Uint8Array): Buffer {
  return sha256(Buffer.concat([leafPrefix, entry]));
}

/** The hash of a node over two others (RFC 6962 §2.1). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return sha256(Buffer.concat([nodePrefix, left, right]));
}

/** The root of the tree without leaves. */
export const emptyRoot: Uint8Array = sha256(new Uint8Array());

const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

function sha256(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}

/**
 * The hash of a whole subtree: of the 2^height leaves from `index` · 2^height on. Only such are asked for as are whole in
 * the tree that is proven.
 */
export type NodeReader = (height: number, index: number) => Promise<Uint8Array>;

/** The largest power of two that is smaller than `size`, which is 2 at least. */
function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

/** The hash over the leaves from `from` to before `to`, as a tree of `to` leaves has it (RFC 6962 §2.1, MTH). */
async function rangeHash(node: NodeReader, from: number, to: number): Promise<Uint8Array> {
  const size = to - from;
  const height = Math.log2(size);
  if (Number.isInteger(height)) return node(height, from / size);
  const middle = from + splitOf(size);
  return nodeHash(await rangeHash(node, from, middle), await rangeHash(node, middle, to));
}

/** The root of the tree of the first `size` leaves. */
export async function rootOf(node: NodeReader, size: number): Promise<Uint8Array> {
  return size === 0 ? emptyRoot : rangeHash(node, 0, size);
}

/** That the leaf `index` is in the tree of the first `size` leaves (RFC 6962 §2.1.1, PATH). Throws RangeError. */
export async function proveInclusion(node: NodeReader, index: number, size: number): Promise<Uint8Array[]> {
  if (!(index >= 0 && index < size)) throw new RangeError(`a tree of ${size} has no leaf ${index}`);
  const proof: Uint8Array[] = [];
  let [from, to] = [0, size];
  const others: [number, number][] = [];
  while (to - from > 1) {
    const middle = from + splitOf(to - from);
    const isLeft = index < middle;
    others.push(isLeft ? [middle, to] : [from, middle]);
    [from, to] = isLeft ? [from, middle] : [middle, to];
  }
  for (const [start, end] of others.reverse()) proof.push(await rangeHash(node, start, end));
  return proof;
}

/**
 * That the tree of the first `size` leaves only adds to that of the first `before` (RFC 6962 §2.1.2, PROOF). Empty from
 * the empty tree on, and from a tree to itself. Throws RangeError.
 */
export async function proveConsistency(
  node: NodeReader,
  before: number,
  size: number,
): Promise<Uint8Array[]> {
  if (!(before >= 0 && before <= size)) throw new RangeError(`a tree of ${size} had never ${before} leaves`);
  if (before === 0 || before === size) return [];
  const parts: [number, number][] = [];
  let [from, to, isWhole] = [0, size, true];
  while (before !== to) {
    const middle = from + splitOf(to - from);
    if (before <= middle) {
      parts.push([middle, to]);
      to = middle;
    } else {
      parts.push([from, middle]);
      from = middle;
      isWhole = false;
    }
  }
  if (!isWhole) parts.push([from, to]);
  const proof: Uint8Array[] = [];
  for (const [start, end] of parts.reverse()) proof.push(await rangeHash(node, start, end));
  return proof;
}

/** A tree as somebody has signed it: how many leaves, and the hash over them all. */
export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Verifies that a leaf is in a tree (RFC 9162 §2.1.3.2). Throws LOG_INVALID. */
export function verifyInclusion(
  { size, root }: TreeHead,
  index: number,
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
): void {
  checkHashes(proof);
  if (!(Number.isSafeInteger(index) && index >= 0 && index < size))
    throw invalid(`the log has ${size} entries, and no entry ${index}`);
  // Halves instead of shifts: an index may be beyond 2^31.
  let [at, last] = [index, size - 1];
  let computed = leaf;
  for (const hash of proof) {
    if (last === 0) throw invalid('the inclusion proof is too long');
    if (isOdd(at) || at === last) {
      computed = nodeHash(hash, computed);
      while (!isOdd(at) && at !== 0) [at, last] = [half(at), half(last)];
    } else computed = nodeHash(computed, hash);
    [at, last] = [half(at), half(last)];
  }
  if (last !== 0) throw invalid('the inclusion proof is too short');
  if (!isSame(computed, root)) throw invalid(`the inclusion proof of the entry ${index} does not hold`);
}

/** Verifies that the second tree only adds to the first (RFC 9162 §2.1.4.2). Throws LOG_INVALID. */
export function verifyConsistency(first: TreeHead, second: TreeHead, proof: readonly Uint8Array[]): void {
  checkHashes(proof);
  if (first.size > second.size) throw invalid(`a log of ${first.size} entries has ${second.size} afterwards`);
  if (first.size === second.size) {
    if (!isSame(first.root, second.root))
      throw invalid(`two logs have ${first.size} entries, and not the same ones`);
    if (proof.length > 0) throw invalid('the consistency proof is too long');
    return;
  }
  if (first.size === 0) {
    if (!isSame(first.root, emptyRoot)) throw invalid('the root of the empty log is another one');
    if (proof.length > 0) throw invalid('the consistency proof is too long');
    return;
  }
  const isWhole = Number.isInteger(Math.log2(first.size));
  const [start, ...rest] = isWhole ? [first.root, ...proof] : proof;
  if (start === undefined) throw invalid('the consistency proof is too short');
  let [at, last] = [first.size - 1, second.size - 1];
  while (isOdd(at)) [at, last] = [half(at), half(last)];
  let [before, after] = [start, start];
  for (const hash of rest) {
    if (last === 0) throw invalid('the consistency proof is too long');
    if (isOdd(at) || at === last) {
      before = nodeHash(hash, before);
      after = nodeHash(hash, after);
      while (!isOdd(at) && at !== 0) [at, last] = [half(at), half(last)];
    } else after = nodeHash(after, hash);
    [at, last] = [half(at), half(last)];
  }
  if (last !== 0) throw invalid('the consistency proof is too short');
  if (!isSame(before, first.root) || !isSame(after, second.root))
    throw invalid(`the log of ${second.size} entries does not begin with that of ${first.size}`);
}

function checkHashes(proof: readonly Uint8Array[]): void {
  if (proof.length > maxProofHashes) throw invalid('the proof is too long');
  if (proof.some((it) => it.length !== hashLength)) throw invalid('a hash of the proof is not 32 bytes long');
}

/** True where two hashes are the same. */
export function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function isOdd(value: number): boolean {
  return value % 2 === 1;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function invalid(message: string): CscError {
  return new CscError('LOG_INVALID', message);
}

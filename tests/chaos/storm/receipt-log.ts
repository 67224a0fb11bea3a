import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Scene } from './scene.ts';

/** What a checkpoint says (c2sp.org/tlog-checkpoint): how many receipts, and the root of their tree. */
interface Head {
  readonly size: number;
  readonly root: string;
}

const lookEveryMs = 25;

/** Meets the gate's log of receipts over and over while the storm goes on, as a client does, and remembers all of it. */
export class LogWatch {
  /** Of each size that a checkpoint had, its root. */
  readonly met = new Map<number, string>();
  /** What contradicts itself, in words. */
  readonly wrong: string[] = [];
  readonly #path: string;
  readonly #timer: NodeJS.Timeout;
  #newest = 0;

  constructor(scene: Pick<Scene, 'dataDir'>) {
    this.#path = join(treeOf(scene), 'checkpoint');
    this.#timer = setInterval(() => this.look(), lookEveryMs);
  }

  look(): void {
    const head = readHead(this.#path);
    if (head === undefined) return;
    const { size, root } = head;
    if (size < this.#newest) this.wrong.push(`the log went back from ${this.#newest} receipts to ${size}`);
    const before = this.met.get(size);
    if (before !== undefined && before !== root)
      this.wrong.push(`the log had two trees of ${size} receipts: ${before} and ${root}`);
    this.#newest = Math.max(this.#newest, size);
    this.met.set(size, root);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** An entry of the log, of those members that are looked at. */
interface Entry {
  readonly receipt_sha256: string;
  readonly execution_id: string;
  /** Absent: the gate signed it. */
  readonly executor?: string;
}

/**
 * Holds the log against what hosts have, and against what was met of it, by RFC 6962 and nothing of the fleet's own.
 * Waits until it has all of it, for `withinSec` at most.
 * @param receipts SHA-256 of each receipt that a host has, with what it is called
 */
export async function auditLog(
  scene: Pick<Scene, 'dataDir'>,
  watch: LogWatch,
  receipts: ReadonlyMap<string, string>,
  withinSec: number,
): Promise<{ readonly size: number; readonly wrong: readonly string[] }> {
  const until = performance.now() + withinSec * 1000;
  for (;;) {
    watch.look();
    const found = hold(treeOf(scene), watch, receipts);
    if (found.wrong.length === 0 || performance.now() > until) return found;
    await sleep(200);
  }
}

function hold(tree: string, watch: LogWatch, receipts: ReadonlyMap<string, string>) {
  const head = readHead(join(tree, 'checkpoint'));
  if (head === undefined) return { size: 0, wrong: ['the gate has no log of receipts'] };
  const leaves = readLeaves(tree, head.size);
  const wrong = [...watch.wrong];
  const hashes = leaves.map((leaf) => sha256(Buffer.from([0]), leaf));
  for (const [size, root] of new Map([...watch.met, [head.size, head.root]]))
    if (rootOf(hashes.slice(0, size)).toString('base64') !== root)
      wrong.push(`the log of ${head.size} receipts does not add to the one of ${size} that was shown before`);
  const entries = leaves.map((leaf): Entry => JSON.parse(leaf.toString()));
  const counts = Map.groupBy(entries, (it) => it.receipt_sha256);
  for (const [hash, name] of receipts) {
    const count = counts.get(hash)?.length ?? 0;
    if (count !== 1) wrong.push(`${name} is in the log ${count} times`);
  }
  for (const { receipt_sha256: hash, execution_id: id, executor } of entries)
    if (executor !== undefined && !receipts.has(hash))
      wrong.push(`the log has a receipt of ${executor} for ${id} that no host has`);
  return { size: head.size, wrong };
}

function treeOf({ dataDir }: Pick<Scene, 'dataDir'>): string {
  return join(dataDir(), 'log', 'tree');
}

function readHead(path: string): Head | undefined {
  if (!existsSync(path)) return undefined;
  const [, size, root = ''] = readFileSync(path, 'utf8').split('\n');
  return { size: Number(size), root };
}

// Bundles of 256 entries, each behind its length (c2sp.org/tlog-tiles).
function readLeaves(tree: string, size: number): Buffer[] {
  const leaves: Buffer[] = [];
  for (let index = 0; leaves.length < size; index += 1) {
    const path = join(tree, 'tile/entries', String(index).padStart(3, '0'));
    const width = Math.min(256, size - 256 * index);
    const bytes = readFileSync(width === 256 || existsSync(path) ? path : `${path}.p/${width}`);
    for (let at = 0, count = 0; count < width; count += 1) {
      const length = bytes.readUInt16BE(at);
      leaves.push(bytes.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
  }
  return leaves;
}

// RFC 6962, section 2.1: of the hashes of leaves.
function rootOf(hashes: readonly Buffer[]): Buffer {
  const [first, ...rest] = hashes;
  if (first === undefined) return sha256();
  if (rest.length === 0) return first;
  const half = 2 ** Math.floor(Math.log2(hashes.length - 1));
  return sha256(Buffer.from([1]), rootOf(hashes.slice(0, half)), rootOf(hashes.slice(half)));
}

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

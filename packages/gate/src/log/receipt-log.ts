import { setTimeout as delay, setImmediate as others } from 'node:timers/promises';
import type { Signer } from '@csc-fleet/common/crypto';
import { toBuffer } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { AuditRecord } from '@csc-fleet/common/messages';
import { Signal } from '@csc-fleet/common/service';
import {
  type FilledTile,
  formatBundle,
  formatEntry,
  formatVkey,
  hashLength,
  isSame,
  type LogEntry,
  leafHash,
  maxLogEntryBytes,
  type NoteKey,
  nodesOf,
  openCheckpoint,
  parseBundle,
  parseEntry,
  proveConsistency,
  proveInclusion,
  signCheckpoint,
  type Tile,
  TreeEdge,
  tileWidth,
  widthIn,
} from '@csc-fleet/common/tlog';
import type { Store } from '../store/store.ts';
import type { AuditRow } from '../store/tables.ts';
import { TileFiles } from './tile-files.ts';

export interface ReceiptLogPorts {
  readonly store: Pick<Store, 'auditAfter' | 'auditLast' | 'skipAudit' | 'audited'>;
  /** The log's own key. */
  readonly signer: Signer;
  /** What the log is called. */
  readonly origin: string;
  /** Where its tiles are. */
  readonly directory: string;
  readonly onError: (error: unknown) => void;
}

/** A checkpoint, and how far the audit had been read for it. */
export interface Published {
  readonly size: number;
  /** The number of the last audit record that it has the receipt of, or a later one. */
  readonly upTo: number;
  /** A signed note. */
  readonly note: string;
}

// An accepted receipt is in the log this much later at most, as far as the disk keeps up.
const paceMs = 800;
// Full tiles and bundles under one checkpoint: two for each 256 receipts.
const tilesAtOnce = 32;
// After a write that failed, as the disk is full.
const restMs = 5_000;

/**
 * The log of all receipts that this gate has accepted. Its entries are derived from the audit records, which are written in
 * one transaction with the receipts themselves: so each receipt is in it once, in the order of the disk, whatever is killed,
 * and nothing of it is written where somebody waits for an answer.
 */
export class ReceiptLog {
  readonly #ports: ReceiptLogPorts;
  readonly #files: TileFiles;
  readonly #stopping = new AbortController();
  readonly #published = new Signal();
  readonly #hurried = new Signal();
  #edge = new TreeEdge();
  /** Entries of the bundle that is not full. */
  #entries: readonly Uint8Array[] = [];
  /** The number of the audit record that was looked at last. */
  #lookedUpTo = 0;
  #current: Published | undefined;
  #running: Promise<void> = Promise.resolve();
  #hurries = 0;
  #trouble: string | undefined;

  private constructor(ports: ReceiptLogPorts) {
    this.#ports = ports;
    this.#files = new TileFiles(ports.directory);
  }

  /**
   * Takes up the log where its checkpoint ends: of a log of any size, its edge alone is read. Throws LOG_INVALID where the
   * files do not come to what their checkpoint says.
   */
  static async open(ports: ReceiptLogPorts): Promise<ReceiptLog> {
    const log = new ReceiptLog(ports);
    const note = await log.#files.checkpoint();
    if (note !== undefined) await log.#restore(note);
    // A store from a backup would give the numbers of entries that are here to others.
    await ports.store.skipAudit(log.#lookedUpTo);
    return log;
  }

  async #restore(note: Buffer): Promise<void> {
    const { checkpoint } = openCheckpoint(note, { log: this.key });
    const { size, root } = checkpoint;
    try {
      this.#edge = await TreeEdge.restore(size, (tile) => this.#files.read(tile));
      if (!isSame(this.#edge.head().root, root)) throw new Error('the tiles come to another root');
      this.#entries = await this.#bundle(size, Math.floor(size / tileWidth));
      const leaves = Buffer.concat(this.#entries.map((it) => leafHash(it)));
      const own = this.#edge.partial().find(({ tile }) => tile.level === 0)?.bytes ?? new Uint8Array();
      if (!isSame(leaves, own)) throw new Error('the entries are not those of the tiles');
      const last = this.#entries.at(-1) ?? (await this.#bundle(size, size / tileWidth - 1)).at(-1);
      this.#lookedUpTo = last === undefined ? 0 : toEntry(last).audit_sequence;
    } catch (cause) {
      const message =
        `the log of receipts in ${this.#ports.directory} is not what its checkpoint of ${size} entries says: bring it back from a ` +
        'copy. A log that is begun anew under this key would be a fork, and everybody would be told so';
      throw new CscError('LOG_INVALID', message, { cause });
    }
    this.#current = { size, upTo: this.#lookedUpTo, note: note.toString() };
  }

  /** Puts a checkpoint with its cosignatures beside the tiles. Rejects where the disk takes no more. */
  keepCosigned(note: string): Promise<void> {
    return this.#files.writeCosigned(note);
  }

  /** Whose signature its checkpoints have. */
  get key(): NoteKey {
    const { origin: name, signer } = this.#ports;
    return { name, type: 'ed25519', publicKey: signer.publicKey };
  }

  /** The same, as owners and clients pin it. */
  get vkey(): string {
    return formatVkey(this.key);
  }

  /** Undefined: there is nothing in it yet. */
  get current(): Published | undefined {
    return this.#current;
  }

  /** Why it takes in nothing now, for people. Undefined: it does. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Begins to take in what is accepted. */
  start(): void {
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Resolves at the next checkpoint, or as `abort` fires. */
  published(abort: AbortSignal): Promise<void> {
    return this.#published.wait(abort);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const over = new AbortController();
      // Before it is looked: what is written while that lasts rings, too.
      const more = this.#ports.store.audited(AbortSignal.any([signal, over.signal]));
      let isEnd = true;
      try {
        isEnd = await this.#takeIn();
        this.#trouble = undefined;
      } catch (error) {
        this.#trouble = error instanceof Error ? error.message : String(error);
        this.#ports.onError(error);
        await delay(restMs, undefined, { signal }).catch(() => undefined);
        isEnd = false;
      }
      if (!isEnd) over.abort();
      await more;
      if (isEnd) await this.#pace();
    }
  }

  // Several receipts share a checkpoint, unless somebody waits for theirs.
  async #pace(): Promise<void> {
    if (this.#hurries > 0) return;
    const over = new AbortController();
    const signal = AbortSignal.any([this.#stopping.signal, over.signal]);
    await Promise.race([
      delay(paceMs, undefined, { signal }).catch(() => undefined),
      this.#hurried.wait(signal),
    ]);
    over.abort();
  }

  /** True where there was nothing more to look at. */
  async #takeIn(): Promise<boolean> {
    const growth: Growth = { edge: this.#edge.copy(), entries: [...this.#entries], tiles: [] };
    let upTo = this.#lookedUpTo;
    let isEnd = false;
    while (!isEnd && growth.tiles.length < tilesAtOnce && !this.#stopping.signal.aborted) {
      const page = await this.#ports.store.auditAfter(upTo, {});
      for (const entry of page.rows.flatMap((row) => entryOf(row))) grow(growth, entry);
      ({ lookedUpTo: upTo, isEnd } = page);
      // The store answers at once, and so there would be nobody else's turn before the last page.
      if (!isEnd) await others();
    }
    if (growth.edge.size > this.#edge.size) await this.#write(growth, upTo);
    this.#lookedUpTo = upTo;
    this.#published.ring();
    return isEnd;
  }

  async #write({ edge, entries, tiles: full }: Growth, upTo: number): Promise<void> {
    const before = new Set(this.#edge.partial().map(({ bytes }) => bytes));
    const partial = edge.partial();
    const named = partial.map(({ tile }) => tile);
    const tiles = [...full, ...partial.filter(({ bytes }) => !before.has(bytes))];
    if (entries.length > 0) {
      const index = Math.floor(edge.size / tileWidth);
      const tile: Tile = { level: 'entries', index, width: entries.length };
      tiles.push({ tile, bytes: formatBundle(entries) });
      named.push(tile);
    }
    const note = signCheckpoint({ origin: this.#ports.origin, ...edge.head() }, this.#ports.signer);
    await this.#files.write(tiles, note, named);
    // Nobody sees it before it is on the disk.
    this.#edge = edge;
    this.#entries = entries;
    this.#current = { size: edge.size, upTo, note };
  }

  /**
   * Resolves once the records up to this number are in a checkpoint, or as `abort` fires: to whether they are. Somebody waits:
   * it comes at once.
   */
  async reach(auditSequence: number, abort: AbortSignal): Promise<boolean> {
    this.#hurries += 1;
    try {
      while (this.#lookedUpTo < auditSequence && !abort.aborted) {
        const next = this.#published.wait(abort);
        this.#hurried.ring();
        await next;
      }
    } finally {
      this.#hurries -= 1;
    }
    return this.#lookedUpTo >= auditSequence;
  }

  /** The numbers of the leaves of these audit records, as far as they are among the first `size`. */
  async find(auditSequence: number, size: number): Promise<{ index: number; entry: Uint8Array } | undefined> {
    let [low, high] = [0, Math.ceil(size / tileWidth) - 1];
    // The last bundle that does not begin after it.
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const [first] = await this.#bundle(size, middle, 1);
      if (first !== undefined && sequenceOf(first) <= auditSequence) low = middle;
      else high = middle - 1;
    }
    const entries = await this.#bundle(size, low);
    const at = entries.findIndex((it) => sequenceOf(it) === auditSequence);
    const entry = entries[at];
    return entry === undefined ? undefined : { index: low * tileWidth + at, entry };
  }

  /** RFC 6962 §2.1.1. */
  inclusion(index: number, size: number): Promise<Uint8Array[]> {
    return proveInclusion(
      nodesOf((tile) => this.read(tile), size),
      index,
      size,
    );
  }

  /** RFC 6962 §2.1.2. */
  consistency(before: number, size: number): Promise<Uint8Array[]> {
    return proveConsistency(
      nodesOf((tile) => this.read(tile), size),
      before,
      size,
    );
  }

  /** A tile of the log as it is, cut to its width. Rejects where it has none, or none as wide. */
  async read({ level, index, width }: Tile): Promise<Uint8Array> {
    const { size } = this.#edge;
    if (widthIn(size, level, index) < width) throw new RangeError('the log has no such tile');
    if (level === 'entries') {
      const entries = await this.#bundle(size, index);
      return formatBundle(entries.slice(0, width));
    }
    const edge = this.#edge.partial().find(({ tile }) => tile.level === level && tile.index === index);
    const bytes = edge?.bytes ?? (await this.#files.read({ level, index, width: tileWidth }));
    return bytes.subarray(0, width * hashLength);
  }

  // The entries of a bundle in a tree of so many leaves.
  async #bundle(size: number, index: number, most = tileWidth): Promise<readonly Uint8Array[]> {
    const width = Math.min(most, widthIn(size, 'entries', index));
    if (width <= 0) return [];
    const isEdge = index === Math.floor(this.#edge.size / tileWidth);
    if (isEdge && this.#entries.length >= width) return this.#entries.slice(0, width);
    const tile = { level: 'entries' as const, index, width: widthIn(size, 'entries', index) };
    const bytes = await this.#files.read(tile, width * (2 + maxLogEntryBytes));
    return orThrow(parseBundle(bytes, width), 'LOG_INVALID', `the bundle ${index} of the log`);
  }
}

/** A log that has grown, of which nothing is written yet. */
interface Growth {
  readonly edge: TreeEdge;
  /** Entries of the bundle that is not full. */
  entries: Uint8Array[];
  /** What has become full. */
  readonly tiles: FilledTile[];
}

function grow(growth: Growth, entry: Uint8Array): void {
  const { edge, entries, tiles } = growth;
  entries.push(entry);
  tiles.push(...edge.add(leafHash(entry)));
  if (entries.length < tileWidth) return;
  const index = edge.size / tileWidth - 1;
  tiles.push({ tile: { level: 'entries', index, width: tileWidth }, bytes: formatBundle(entries) });
  growth.entries = [];
}

// Of all that the audit tells, what tells of a receipt.
function entryOf({ sequence, kind, record }: AuditRow): Uint8Array[] {
  if (kind !== 'execution.ended' && kind !== 'execution.receipt_came_late') return [];
  const { receiptSha256, receiptPlace, executionId } = AuditRecord.decode(record);
  if (receiptSha256 === '') return [];
  const { executor = '', epoch = '', sequence: number = 0 } = receiptPlace ?? {};
  const entry: LogEntry = {
    entry_version: 'csc.log-entry.v0.1',
    receipt_sha256: receiptPlace?.receiptSha256 ?? receiptSha256,
    execution_id: executionId,
    ...(executor === '' ? {} : { executor }),
    ...(epoch === '' ? {} : { executor_epoch: epoch }),
    ...(number === 0 ? {} : { sequence: number }),
    audit_sequence: sequence,
  };
  return [formatEntry(entry)];
}

// Of an entry that this log has written: canonical JSON begins with it. Hundreds of them are looked at for one proof.
function sequenceOf(bytes: Uint8Array): number {
  const head = toBuffer(bytes.subarray(0, 40)).toString('latin1');
  const [, digits] = /^\{"audit_sequence":(\d+),/.exec(head) ?? [];
  return digits === undefined ? toEntry(bytes).audit_sequence : Number(digits);
}

function toEntry(bytes: Uint8Array): LogEntry {
  return orThrow(parseEntry(bytes), 'LOG_INVALID', 'an entry of the log');
}

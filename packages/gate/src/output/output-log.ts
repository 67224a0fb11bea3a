import { constants, existsSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toBuffer } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { makeDirectoryBelow } from '@csc-fleet/common/files';
import {
  type Frame,
  logPieceBytes,
  maxFrameBytes,
  maxFrameData,
  readFrames,
  streamKey,
} from '@csc-fleet/common/output-log';
import { Signal } from '@csc-fleet/common/service';
import { storeRetryMs } from '../store/store-error.ts';
import { type Checkpoint, Checkpoints } from './checkpoints.ts';
import { maxLogLength, type OutputGrant } from './grant.ts';
import { refused, StreamOffsets } from './stream-offsets.ts';

// About as much as waits for a reader who takes nothing.
const readSize = logPieceBytes;
// Written back behind the stream's back, so that little is left to wait for at its end.
const syncEvery = 32 * 1024 * 1024;

// What was appended last is kept for those who follow. Smaller pieces may hold more memory than they have bytes, as what a
// transport has read; of larger ones a slow reader would hold more than what it reads at once.
const worthKeeping = { least: maxFrameData, most: readSize + maxFrameData };
const mostKept = 1024 * 1024;

/** The file with the checkpoints of the log at a path. */
export function checkpointsOf(path: string): string {
  return `${path}.idx`;
}

/** The file with what was taken off the end of the log at a path, as no receipt vouches for it. */
export function unconfirmedOf(path: string): string {
  return `${path}.unconfirmed`;
}

/**
 * Makes the directory of a log, and that of all of them (`logPath`), in one that must be there; it is on disk before a log is in it
 * that somebody counts on.
 */
export async function makeDirectoryOf(path: string): Promise<void> {
  const directory = dirname(path);
  const top = dirname(dirname(dirname(directory)));
  for (const made of await makeDirectoryBelow(top, directory, 0o700)) await syncDirectory(dirname(made));
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export type Extent = 'growing' | 'complete';

/** What somebody wants to read of an output. */
export interface Wanted {
  /** Where a stream is wanted from, by its key; undefined where nothing of it is. */
  from(key: string): number | undefined;
  /** Nothing that was written earlier, in nanoseconds of a frame's monotonic time. 0: whenever it was. */
  readonly sinceNs: number;
}

/** Output of which nothing is kept any more, as its time is over or there was too much. */
export function forgotten(): CscError {
  return new CscError(
    'OUTPUT_TRIMMED',
    'its output has just been forgotten (retention): nothing of it is kept but the hashes and lengths of its receipt',
  );
}

/** A part of a log, whole frames, and where it begins. */
interface Piece {
  readonly position: number;
  readonly bytes: Buffer;
}

const beginning: Checkpoint = { position: 0, next: new Map() };

/**
 * The output of one execution: an append-only file of frames. Appending never waits for readers; each reader has a
 * position of its own in the file. Nothing that an executor sends is believed: order, streams and offsets are checked.
 */
export class OutputLog {
  readonly #path: string;
  #file: FileHandle | undefined;
  readonly #grown = new Signal();
  /** Undefined for a log that takes no more. */
  readonly #offsets: StreamOffsets | undefined;
  readonly #checkpoints: Checkpoints;
  #length = 0;
  #appending: Promise<unknown> = Promise.resolve();
  #followers = 0;
  /** What was appended last, in order, while somebody follows. */
  #recent: Piece[] = [];
  #unsynced = 0;
  /** Its name is known to be on disk. */
  #isNamed = false;
  #syncing: Promise<void> | undefined;
  #forgotten = false;

  private constructor(path: string, extent: Extent, checkpoints: Checkpoints) {
    this.#path = path;
    this.#checkpoints = checkpoints;
    this.#offsets = extent === 'complete' ? undefined : new StreamOffsets();
  }

  /**
   * Opens the log; its file is made by the first append. Half a frame at its end, from a gate that was killed, is cut
   * off.
   * @param extent `complete` where the whole output is there: then it takes no more, and need not be looked through
   */
  static async open(path: string, extent: Extent = 'growing'): Promise<OutputLog> {
    const places = checkpointsOf(path);
    const length = extent === 'complete' && existsSync(path) ? (await stat(path)).size : 0;
    const checkpoints = extent === 'complete' ? Checkpoints.load(places, length) : Checkpoints.begin(places);
    const log = new OutputLog(path, extent, checkpoints);
    if (existsSync(path)) await log.#recover();
    return log;
  }

  /** Bytes of whole frames. */
  get length(): number {
    return this.#length;
  }

  /** Resolves when there is more to read. */
  grown(abort?: AbortSignal): Promise<void> {
    return this.#grown.wait(abort);
  }

  /** Until it is disposed of, what is appended is kept in memory for a moment, for readers who keep up. */
  follow(): Disposable {
    this.#followers += 1;
    return {
      [Symbol.dispose]: () => {
        this.#followers -= 1;
        if (this.#followers === 0) this.#recent = [];
      },
    };
  }

  /** Wakes the readers although nothing came: there is something else to see. */
  wake(): void {
    this.#grown.ring();
  }

  /**
   * Appends whole frames that begin at `offset` in the log; what it has already is skipped. Resolves to its new length.
   * `frames` must not change afterwards: readers may be given them. Throws REQUEST_INVALID for a gap, a malformed frame
   * or more than is granted, SPOOL_FULL where the disk takes no more; then nothing is appended.
   */
  append(offset: number, frames: Uint8Array, grant: OutputGrant): Promise<number> {
    const done = this.#appending.then(() => this.#append(offset, frames, grant));
    this.#appending = done.catch(() => undefined);
    return done;
  }

  /** Resolves once all that was appended would outlast a power cut. Rejects with STORE_UNAVAILABLE. */
  async sync(): Promise<void> {
    await this.#appending;
    await this.#syncing;
    if (this.#unsynced === 0) return;
    await this.#startSync().catch((cause: unknown) => {
      throw new CscError('STORE_UNAVAILABLE', 'output cannot be written to disk: is it full?', {
        cause,
        retryAfterMs: storeRetryMs,
      });
    });
  }

  /**
   * Ends the log with its first `length` bytes, where it has more: a host that lost its power, or room on its disk, vouches
   * for less than it has sent. The rest is kept apart, for the gate's owner. Gives how many bytes that is. Throws
   * RECEIPT_INVALID where no frame ends there, STORE_UNAVAILABLE.
   */
  confirm(length: number): Promise<number> {
    const done = this.#appending.then(() => this.#confirm(length));
    this.#appending = done.catch(() => undefined);
    return done;
  }

  /** The log from `position` on, as far as it is there: pieces of whole frames, each with where it begins. */
  async *read(position: number): AsyncGenerator<Piece> {
    let at = position;
    while (at < this.#length) {
      const piece = this.#recentAt(at) ?? (await this.#readPiece(at));
      // Only in a complete log that was not looked through: what is whole is all there is.
      if (piece.length === 0) this.#length = at;
      else yield { position: at, bytes: piece };
      at += piece.length;
    }
  }

  /** Where to begin reading, so that nothing before it is wanted. */
  async positionFor(wanted: Wanted): Promise<Checkpoint> {
    const { sinceNs } = wanted;
    const byOffset = await this.#checkpoints.last(({ next }) =>
      [...next].every(([key, offset]) => offset <= (wanted.from(key) ?? offset)),
    );
    const byTime =
      sinceNs > 0 ? await this.#checkpoints.last((place) => this.#isEarlier(place, sinceNs)) : undefined;
    const place = (byTime?.position ?? 0) > (byOffset?.position ?? 0) ? byTime : byOffset;
    return place !== undefined && (await this.#begins(place)) ? place : beginning;
  }

  async #isEarlier({ position }: Checkpoint, ns: number): Promise<boolean> {
    const frame = await this.#frameAt(position);
    return frame !== undefined && frame.monotonicNs < ns;
  }

  // What is kept of it lies in another file: a frame must begin there, and go on with its stream.
  async #begins({ position, next }: Checkpoint): Promise<boolean> {
    if (position === this.#length) return true;
    const frame = await this.#frameAt(position);
    return frame !== undefined && frame.offset === (next.get(streamKey(frame)) ?? 0);
  }

  async #frameAt(position: number): Promise<Frame | undefined> {
    for (const size of [2 * maxFrameData, maxFrameBytes]) {
      const bytes = await this.#readBytes(position, Math.max(0, Math.min(size, this.#length - position)));
      try {
        for (const frame of readFrames(bytes)) return frame;
      } catch (error) {
        if (error instanceof CscError) return undefined;
        throw error;
      }
    }
    return undefined;
  }

  /**
   * Its file is gone: whoever reads it gets OUTPUT_TRIMMED. The descriptor goes at once, as the disk has its room back only
   * then, however slow a reader is.
   */
  async forget(): Promise<void> {
    this.#forgotten = true;
    this.#recent = [];
    this.#grown.ring();
    await this.close();
  }

  async close(): Promise<void> {
    await this.#appending;
    await this.#syncing;
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
    this.#grown.ring();
  }

  async #opened(): Promise<FileHandle> {
    if (this.#forgotten) throw forgotten();
    if (this.#file === undefined) await makeDirectoryOf(this.#path);
    this.#file ??= await open(this.#path, constants.O_RDWR | constants.O_CREAT, 0o600);
    return this.#file;
  }

  async #append(offset: number, frames: Uint8Array, grant: OutputGrant): Promise<number> {
    if (this.#offsets === undefined) throw refused('it is complete');
    if (offset > this.#length) throw refused(`there is a gap at ${this.#length}`);
    const fresh = frames.subarray(Math.min(this.#length - offset, frames.length));
    if (this.#length + fresh.length > maxLogLength(grant.limits))
      throw refused('with the heads of its frames it is more than its ticket grants');
    const accept = this.#offsets.check(fresh, grant);
    await this.#write(fresh);
    accept();
    this.#keep({ position: this.#length, bytes: toBuffer(fresh) });
    this.#length += fresh.length;
    this.#noteCheckpoint(this.#length);
    this.#grown.ring();
    return this.#length;
  }

  #keep(piece: Piece): void {
    const { length, buffer } = piece.bytes;
    const isWorthIt = length >= worthKeeping.least && buffer.byteLength <= worthKeeping.most;
    if (this.#followers === 0 || !isWorthIt) return;
    this.#recent.push(piece);
    while ((this.#recent[0]?.position ?? 0) < piece.position + length - mostKept) this.#recent.shift();
  }

  #recentAt(position: number): Buffer | undefined {
    const piece = this.#recent.find(
      ({ position: begin, bytes }) => position >= begin && position < begin + bytes.length,
    );
    return piece?.bytes.subarray(position - piece.position);
  }

  async #confirm(length: number): Promise<number> {
    const beyond = this.#length - length;
    if (beyond <= 0) return 0;
    if ((await this.#frameAt(length)) === undefined)
      throw new CscError(
        'RECEIPT_INVALID',
        `no frame of its output ends at ${length}, where it says that it ends`,
      );
    // Where there is no room for it, what nobody vouches for is gone.
    await this.#keepApart(length).catch(() => undefined);
    const file = await this.#opened();
    this.#length = length;
    this.#recent = [];
    await file.truncate(length).catch((cause: unknown) => {
      throw new CscError('STORE_UNAVAILABLE', 'output cannot be cut off on disk', {
        cause,
        retryAfterMs: storeRetryMs,
      });
    });
    this.#unsynced += 1;
    return beyond;
  }

  async #keepApart(from: number): Promise<void> {
    const apart = await open(unconfirmedOf(this.#path), 'w', 0o600);
    try {
      for await (const { bytes } of this.read(from)) await apart.writeFile(bytes);
    } finally {
      await apart.close();
    }
  }

  // At a position, not at the file's end: there may lie what a write that failed half-way has left.
  async #write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    try {
      const file = await this.#opened();
      for (let done = 0; done < bytes.length; ) {
        done += (await file.write(bytes, done, bytes.length - done, this.#length + done)).bytesWritten;
      }
    } catch (cause) {
      const message = "the gate's output store takes no more: is its disk full?";
      throw new CscError('SPOOL_FULL', message, { cause, retryAfterMs: 5_000 });
    }
    this.#unsynced += bytes.length;
    // A failure shows again at the end.
    if (this.#unsynced >= syncEvery && this.#syncing === undefined) this.#startSync().catch(() => undefined);
  }

  #startSync(): Promise<void> {
    const begun = this.#unsynced;
    const done = this.#opened()
      .then((file) => file.datasync())
      .then(() => this.#syncName())
      .then(() => {
        this.#unsynced -= begun;
      });
    this.#syncing = done
      .catch(() => undefined)
      .finally(() => {
        this.#syncing = undefined;
      });
    return done;
  }

  // A new file's bytes on disk are no good where its name is not (fsync(2)); once is enough, whoever made it.
  async #syncName(): Promise<void> {
    if (this.#isNamed) return;
    await syncDirectory(dirname(this.#path));
    this.#isNamed = true;
  }

  async #readPiece(position: number): Promise<Buffer> {
    for (const size of [readSize, maxFrameBytes]) {
      const bytes = await this.#readBytes(position, Math.min(size, this.#length - position));
      let end = 0;
      for (const frame of readFrames(bytes)) end = frame.end;
      if (end > 0) return bytes.subarray(0, end);
    }
    return Buffer.alloc(0);
  }

  async #readBytes(position: number, length: number): Promise<Buffer> {
    const file = await this.#opened();
    const buffer = Buffer.allocUnsafe(length);
    const { bytesRead } = await file.read({ buffer, position }).catch((error: unknown) => {
      throw this.#forgotten ? forgotten() : error;
    });
    return buffer.subarray(0, bytesRead);
  }

  #noteCheckpoint(position: number): void {
    const offsets = this.#offsets;
    if (offsets !== undefined) this.#checkpoints.note(position, () => offsets.next);
  }

  async #recover(): Promise<void> {
    const file = await this.#opened();
    const { size } = await file.stat();
    this.#length = size;
    if (this.#offsets === undefined) return;
    let whole = 0;
    for (let good = -1; good !== 0; whole += good) {
      good = this.#offsets.takeGood(await this.#readBytes(whole, Math.min(maxFrameBytes, size - whole)));
      this.#noteCheckpoint(whole + good);
    }
    this.#length = whole;
    this.#unsynced = whole;
    if (whole < size) await file.truncate(whole);
  }
}

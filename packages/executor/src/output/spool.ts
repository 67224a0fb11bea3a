import type { Readable } from 'node:stream';
import {
  emptyDigest,
  encodeFrameHead,
  maxFrameData,
  RunningDigest,
  type StreamDigest,
  streamKey,
} from '@csc-fleet/common/output-log';
import { Signal } from '@csc-fleet/common/service';
import { type Captured, type CapturedStream, streamNumbers } from './captured-stream.ts';
import { LogFile } from './log-file.ts';
import { type LogContent, readLogContent, type StoredLog } from './read-log.ts';

/** How much of a contract's output is kept, in bytes; the rest is read and dropped. */
export type OutputCaps = Captured<number>;

/** Of all streams together, in bytes. */
export function sumOf({ stdout, stderr, terminal = 0, recording = 0 }: OutputCaps): number {
  return stdout + stderr + terminal + recording;
}

export interface SpoolOptions {
  readonly executionId: string;
  /** Where the log goes: made at the first byte of output. */
  readonly path: string;
  readonly caps: OutputCaps;
  /** Called once if the log cannot be written: the run must end, as its output can no longer be kept. */
  readonly onFailure: (error: unknown) => void;
}

interface Piece {
  readonly commandId: string;
  readonly stream: CapturedStream;
  readonly monotonicNs: number;
  readonly data: Buffer[];
  /** What is to be called once the data has been written and hashed. */
  readonly done: (() => void)[];
  bytes: number;
}

/** What output passes: takes secrets out of it, or seals it. What it gives back is its own, never the chunk that it was given. */
export interface OutputFilter {
  /** What is certain by now, perhaps nothing. */
  push(chunk: Buffer): Buffer | Promise<Buffer>;
  /** What it still held back. */
  end(): Buffer | Promise<Buffer>;
}

/** Output as it comes. A chunk that is given back is read into again, which spares the collector most of its work. */
export type CaptureSource = Readable & { recycle?(chunk: Buffer): void };

interface Total {
  /** The only command so far, whose digest this is. */
  readonly sharedWith?: string;
  readonly digest: RunningDigest;
}

// What may wait in memory for the disk before the job is held back.
const highWater = 1024 * 1024;
const ownRoom = 1024 * 1024;
const leastWorthKeeping = 64 * 1024;
// What a piece takes in memory beside its data and its command id, which its frame begins with.
const pieceCost = 256;

/** Captures the output of one execution: within its caps, hashed, into a log that can be read meanwhile. */
export class OutputSpool implements StoredLog {
  readonly executionId: string;
  readonly #path: string;
  readonly #file: LogFile;
  readonly #caps: OutputCaps;
  readonly #onFailure: (error: unknown) => void;
  readonly #begun = process.hrtime.bigint();
  readonly #grown = new Signal();
  /** Of each command's stream. */
  readonly #digests = new Map<string, RunningDigest>();
  readonly #totals = new Map<CapturedStream, Total>();
  readonly #taken = { stdout: 0, stderr: 0, terminal: 0, recording: 0 };
  readonly #maxLength: number;
  #queue: Piece[] = [];
  #queuedBytes = 0;
  #flushing: Promise<void> | undefined;
  #failed = false;
  #ended = false;

  constructor(options: SpoolOptions) {
    this.executionId = options.executionId;
    this.#path = options.path;
    this.#file = new LogFile(options.path);
    this.#caps = options.caps;
    this.#onFailure = options.onFailure;
    // Frames cost room too: a job that writes byte by byte must not fill the disk with their heads.
    this.#maxLength = 2 * sumOf(options.caps) + ownRoom;
  }

  get caps(): OutputCaps {
    return this.#caps;
  }

  get length(): number {
    return this.#file.length;
  }

  get ended(): boolean {
    return this.#ended;
  }

  changed(abort?: AbortSignal): Promise<void> {
    return this.#grown.wait(abort);
  }

  read(offset: number, maxBytes: number, into?: Buffer): Promise<Uint8Array> {
    return this.#file.read(offset, maxBytes, into);
  }

  /** Takes a stream of a command until its end; one that breaks off counts as truncated. Never rejects. */
  async capture(
    commandId: string,
    stream: CapturedStream,
    source: CaptureSource,
    filter?: OutputFilter,
  ): Promise<void> {
    try {
      for await (const data of source) {
        if (filter === undefined) this.#take(commandId, stream, data, () => source.recycle?.(data));
        else {
          const passed = filter.push(data);
          this.#take(commandId, stream, Buffer.isBuffer(passed) ? passed : await passed, () => undefined);
        }
        while (this.#queuedBytes >= highWater) await this.#grown.wait();
      }
    } catch {
      this.#truncate(commandId, stream);
    }
    if (filter === undefined) return;
    try {
      this.#take(commandId, stream, await filter.end(), () => undefined);
    } catch {
      this.#truncate(commandId, stream);
    }
  }

  /** What has been captured of a command's stream, as far as it is in the log. */
  digest(commandId: string, stream: CapturedStream): StreamDigest {
    return this.#digests.get(keyOf(commandId, stream))?.digest() ?? emptyDigest;
  }

  /** The same over all commands, in order. */
  total(stream: CapturedStream): StreamDigest {
    return this.#totals.get(stream)?.digest.digest() ?? emptyDigest;
  }

  /** Waits until all that was captured is in the log. */
  async settle(): Promise<void> {
    await this.#flushing;
  }

  /**
   * Nothing more comes: makes the log durable, as far as the disk lets it. Gives what is left of it where that would not keep all
   * of it as it was written; then the digests are of more than the log holds. Never rejects.
   */
  async end(): Promise<LogContent | undefined> {
    await this.settle();
    const left = await this.#file.sync().then(
      () => undefined,
      (error: unknown) => this.#save(error),
    );
    this.#ended = true;
    this.#grown.ring();
    return left;
  }

  // fsync(2): what a disk has not taken is forgotten with the error, and a second call says that all is well. So what can
  // still be read is written elsewhere on it, and less and less of it where there is no room.
  async #save(error: unknown): Promise<LogContent> {
    this.#fail(error);
    for (let most = await this.#trustworthyLength(); most > 0; most = halfOf(most)) {
      const content = await readLogContent(this.#path, most);
      const isSaved = await this.#file.rewrite(content.length).then(
        () => true,
        () => false,
      );
      if (isSaved) return content;
    }
    await this.#file.truncate(0).catch(() => undefined);
    return readLogContent(this.#path, 0);
  }

  // What the disk gives back of it may be something older: then nobody knows from where on.
  async #trustworthyLength(): Promise<number> {
    const content = await readLogContent(this.#path);
    const isWhole = [...this.#totals.keys()].every(
      (stream) => content.digest(stream).sha256 === this.total(stream).sha256,
    );
    return isWhole ? this.length : 0;
  }

  /** Gives half of an ended log, and in the end all of it, back to the disk: gives what is left of it. */
  async shorten(): Promise<LogContent> {
    const content = await readLogContent(this.#path, halfOf(this.length));
    await this.#file.truncate(content.length);
    return content;
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  /** The execution is not to be: leaves nothing behind. */
  async discard(): Promise<void> {
    await this.settle();
    await this.#file.discard();
  }

  #take(commandId: string, stream: CapturedStream, data: Buffer, done: () => void): void {
    const room =
      this.#failed || this.length >= this.#maxLength ? 0 : (this.#caps[stream] ?? 0) - this.#taken[stream];
    const kept = data.length <= room ? data : data.subarray(0, room);
    if (kept.length < data.length) this.#truncate(commandId, stream);
    this.#taken[stream] += kept.length;
    for (let at = 0; at < kept.length; at += maxFrameData) {
      this.#enqueue(commandId, stream, kept.subarray(at, at + maxFrameData));
    }
    if (kept.length === 0) {
      done();
      return;
    }
    this.#queue.at(-1)?.done.push(done);
    // Only now, as it takes the queue at once.
    this.#flushing ??= this.#flush();
  }

  // Joined to the piece before it where that still waits: small writes then share a frame.
  #enqueue(commandId: string, stream: CapturedStream, data: Buffer): void {
    const last = this.#queue.at(-1);
    const joins =
      last?.stream === stream && last.commandId === commandId && last.bytes + data.length <= maxFrameData;
    if (joins) {
      last.data.push(data);
      last.bytes += data.length;
    } else {
      const monotonicNs = Number(process.hrtime.bigint() - this.#begun);
      this.#queue.push({ commandId, stream, monotonicNs, data: [data], done: [], bytes: data.length });
      this.#queuedBytes += costOf(commandId);
    }
    this.#queuedBytes += data.length;
  }

  async #flush(): Promise<void> {
    while (this.#queue.length > 0) {
      const pieces = this.#queue;
      this.#queue = [];
      await this.#write(pieces);
      for (const piece of pieces) this.#queuedBytes -= piece.bytes + costOf(piece.commandId);
      this.#grown.ring();
    }
    this.#flushing = undefined;
  }

  // Hashed once written, so that the hashes are of what the log holds even when the disk is full.
  async #write(pieces: readonly Piece[]): Promise<void> {
    if (this.#failed) return;
    try {
      await this.#file.append(this.#toFrames(pieces));
    } catch (error) {
      this.#fail(error);
      for (const { commandId, stream } of pieces) this.#truncate(commandId, stream);
      return;
    }
    for (const { commandId, stream, data } of pieces) {
      for (const digest of this.#running(commandId, stream)) for (const part of data) digest.add(part);
    }
    for (const { done } of pieces) for (const release of done) release();
  }

  #toFrames(pieces: readonly Piece[]): Buffer[] {
    const offsets = new Map<string, number>();
    return pieces.flatMap(({ commandId, stream, monotonicNs, data, bytes }) => {
      const key = keyOf(commandId, stream);
      const offset = offsets.get(key) ?? this.#running(commandId, stream)[0].length;
      offsets.set(key, offset + bytes);
      const head = { commandId, stream: streamNumbers[stream], offset, monotonicNs };
      return [encodeFrameHead(head, data), ...data];
    });
  }

  #truncate(commandId: string, stream: CapturedStream): void {
    for (const digest of this.#running(commandId, stream)) digest.truncate();
  }

  /** The digest of the command's stream, and that of all commands so far where it is another one. */
  #running(commandId: string, stream: CapturedStream): readonly [RunningDigest, ...RunningDigest[]] {
    const key = keyOf(commandId, stream);
    const own = this.#digests.get(key) ?? new RunningDigest();
    this.#digests.set(key, own);
    const total = this.#totalOf(commandId, stream, own);
    return total === own ? [own] : [own, total];
  }

  // Hashing is most of what output costs here, and most contracts have one command: the first command's digest is the
  // total as well, until a second command writes.
  #totalOf(commandId: string, stream: CapturedStream, own: RunningDigest): RunningDigest {
    const known = this.#totals.get(stream) ?? { sharedWith: commandId, digest: own };
    const total =
      known.sharedWith === undefined || known.sharedWith === commandId
        ? known
        : { digest: known.digest.fork() };
    this.#totals.set(stream, total);
    return total.digest;
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#onFailure(error);
  }
}

function halfOf(length: number): number {
  return length < leastWorthKeeping ? 0 : Math.floor(length / 2);
}

function keyOf(commandId: string, stream: CapturedStream): string {
  return streamKey({ commandId, stream: streamNumbers[stream] });
}

// In UTF-16 units, of which each is at most three bytes.
function costOf(commandId: string): number {
  return pieceCost + 3 * commandId.length;
}

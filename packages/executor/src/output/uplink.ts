import { setTimeout as sleep } from 'node:timers/promises';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { logPieceBytes } from '@csc-fleet/common/output-log';
import { Signal } from '@csc-fleet/common/service';
import type { ReadableLog } from './read-log.ts';

/** Where output logs go: the gate, in this process or behind gRPC. */
export interface OutputSink {
  /** How much of the log the gate holds. Rejects where it cannot be reached or does not know the execution. */
  committedLength(executionId: string): Promise<number>;
  /**
   * Whole frames that begin at `logOffset`. Resolves with the length that the gate then holds. Several may be under
   * way; they are taken in order. The memory of `frames` is the caller's again as soon as this returns.
   */
  append(executionId: string, logOffset: number, frames: Uint8Array): Promise<number>;
  /**
   * Memory for what is to be appended next, which `append` then takes as it is; it is the sink's again with that, and
   * with `finish`. Absent, or undefined: the caller has its own.
   */
  memory?(executionId: string): Buffer | undefined;
  /** What to wait for before the next `append`: the way to the gate is full. Never rejects. Undefined, or absent: it is not. */
  room?(executionId: string): Promise<void> | undefined;
  /** This log's upload is over, for good or for now. */
  finish?(executionId: string): void;
}

// What may be under way without an acknowledgement, in bytes: as much as a reader of the gate may lag in memory.
const window = 4 * 1024 * 1024;
const chunk = logPieceBytes;
// A job prints through a pipe, in pieces of any length up to 256 KiB. While the gate has some of them under way, more
// are waited for this long, in milliseconds: each message costs both ends as much as 64 KiB.
const gatherMs = 2;
const gatherForMoment = (): Promise<void> => sleep(gatherMs);

/**
 * Sends a log from where the gate has it until it has ended and the gate holds all of it, or of an ended log what can be
 * read of it and is taken. Resolves to the bytes that the gate holds. Rejects with the sink's error, or when `signal` is
 * aborted; the next call goes on from what the gate has then.
 * @param onProgress called whenever the gate holds more
 * @param gather what is waited for before a message that is not full, while others are under way
 */
export async function pushOutput(
  log: ReadableLog,
  sink: OutputSink,
  signal: AbortSignal,
  onProgress: () => void = () => undefined,
  gather = gatherForMoment,
): Promise<number> {
  const push = new Push(log, sink, signal, onProgress);
  try {
    await push.begin();
    while (!push.isDone) {
      if (!push.mayGoOn) await push.wait();
      else {
        if (push.mayGather) await gather();
        await push.sendNext();
      }
    }
    return push.held;
  } catch (error) {
    // What the gate does not take of a log that has ended, it never will; another gate error may pass.
    if (log.ended && isCscError(error, 'REQUEST_INVALID')) return push.held;
    throw error;
  } finally {
    push.end();
  }
}

class Push {
  readonly #log: ReadableLog;
  readonly #sink: OutputSink;
  readonly #signal: AbortSignal;
  readonly #onProgress: () => void;
  /** Rung by all that may be waited for. */
  readonly #bell = new Signal();
  readonly #over = new AbortController();
  /** The log is listened to: once, however often something else rings. */
  #isListening = false;
  readonly #onAbort = () => this.#fail(this.#signal.reason);
  /** What is read of the log, until it is sent, where the sink has no place for it. */
  #memory: Buffer | undefined;
  #failure: { readonly error: unknown } | undefined;
  #committed: number | undefined;
  #sent = 0;
  /** Where nothing can be read of an ended log any more, before its end. */
  #damagedAt: number | undefined;

  constructor(log: ReadableLog, sink: OutputSink, signal: AbortSignal, onProgress: () => void) {
    this.#log = log;
    this.#sink = sink;
    this.#signal = signal;
    this.#onProgress = onProgress;
    signal.addEventListener('abort', this.#onAbort);
    if (signal.aborted) this.#onAbort();
  }

  /** Asks the gate where to begin. */
  async begin(): Promise<void> {
    this.#expect(this.#sink.committedLength(this.#log.executionId));
    while (this.#committed === undefined) await this.wait();
    // Of a log that is still written, nobody can hold more than there is.
    if (!this.#log.ended && this.#committed > this.#log.length) throw unbelievable();
    this.#sent = this.#committed;
  }

  /** Also where the gate holds more than this host has kept over a power cut. */
  get isDone(): boolean {
    return this.#log.ended && this.held >= (this.#damagedAt ?? this.#log.length);
  }

  get mayGoOn(): boolean {
    return (
      this.#damagedAt === undefined &&
      this.#sent < this.#log.length &&
      this.#sent - this.held <= window - chunk
    );
  }

  /** There is less than a message holds, and the gate is busy with what came before. */
  get mayGather(): boolean {
    return !this.#log.ended && this.#log.length - this.#sent < chunk && this.#sent > this.held;
  }

  /** What the gate is known to hold, in bytes. */
  get held(): number {
    return this.#committed ?? 0;
  }

  async sendNext(): Promise<void> {
    this.#throwFailure();
    const { executionId } = this.#log;
    const room = this.#sink.room?.(executionId);
    if (room !== undefined) await this.#until(room);
    const memory = this.#sink.memory?.(executionId) ?? this.#ownMemory();
    const frames = await this.#log.read(this.#sent, chunk, memory);
    this.#throwFailure();
    if (frames.length === 0) {
      if (!this.#log.ended) throw new Error('the output log is shorter than it was');
      this.#damagedAt = this.#sent;
      return;
    }
    this.#expect(this.#sink.append(executionId, this.#sent, frames));
    this.#sent += frames.length;
  }

  #ownMemory(): Buffer {
    this.#memory ??= Buffer.allocUnsafeSlow(chunk);
    return this.#memory;
  }

  /** Until there is something to do. */
  async wait(): Promise<void> {
    this.#throwFailure();
    this.#listen();
    await this.#bell.wait();
    this.#throwFailure();
  }

  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    void this.#log.changed(this.#over.signal).then(() => {
      this.#isListening = false;
      this.#bell.ring();
    });
  }

  async #until(room: Promise<void>): Promise<void> {
    let isRoom = false;
    void room.then(() => {
      isRoom = true;
      this.#bell.ring();
    });
    while (!isRoom) {
      await this.#bell.wait();
      this.#throwFailure();
    }
  }

  end(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#over.abort(isOver);
    this.#sink.finish?.(this.#log.executionId);
  }

  #expect(answer: Promise<number>): void {
    answer.then(
      (committed) => {
        if (this.#committed !== undefined && !(committed <= this.#sent)) return this.#fail(unbelievable());
        this.#committed = Math.max(this.held, committed);
        this.#onProgress();
        this.#bell.ring();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#bell.ring();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

// Without a reason it would make an error with its stack.
const isOver = 'the upload is over';

function unbelievable(): CscError {
  return new CscError('GATE_UNREACHABLE', 'the gate says that it holds more of the output than it was sent');
}

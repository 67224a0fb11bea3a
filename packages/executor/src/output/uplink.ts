import type { OutputLog } from './output-log.ts';
import { ChangeSignal } from './signal.ts';

/** Where output logs go: the gate, in this process or behind gRPC. */
export interface OutputSink {
  /** How much of the log the gate holds. Rejects where it cannot be reached or does not know the execution. */
  committedLength(executionId: string): Promise<number>;
  /**
   * Whole frames that begin at `logOffset`. Resolves with the length that the gate then holds. Several may be under
   * way; they are taken in order.
   */
  append(executionId: string, logOffset: number, frames: Uint8Array): Promise<number>;
  /** This log's upload is over, for good or for now. */
  finish?(executionId: string): void;
}

// What may be under way without an acknowledgement, in bytes: as much as a reader of the gate may lag in memory.
const window = 4 * 1024 * 1024;
const chunk = 256 * 1024;

/**
 * Sends a log from where the gate has it until it has ended and the gate holds all of it. Rejects with the sink's
 * error, or when `signal` is aborted; the next call goes on from what the gate has then.
 */
export async function pushOutput(log: OutputLog, sink: OutputSink, signal: AbortSignal): Promise<void> {
  const push = new Push(log, sink, signal);
  try {
    await push.begin();
    while (!push.isDone) {
      if (push.mayGoOn) await push.sendNext();
      else await push.wait();
    }
  } finally {
    push.end();
  }
}

class Push {
  readonly #log: OutputLog;
  readonly #sink: OutputSink;
  readonly #signal: AbortSignal;
  readonly #progress = new ChangeSignal();
  readonly #onAbort = () => this.#fail(this.#signal.reason);
  #failure: { readonly error: unknown } | undefined;
  #committed: number | undefined;
  #sent = 0;

  constructor(log: OutputLog, sink: OutputSink, signal: AbortSignal) {
    this.#log = log;
    this.#sink = sink;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort);
    if (signal.aborted) this.#onAbort();
  }

  /** Asks the gate where to begin. */
  async begin(): Promise<void> {
    this.#expect(this.#sink.committedLength(this.#log.executionId));
    while (this.#committed === undefined) await this.wait();
    this.#sent = this.#committed;
  }

  /** Also where the gate holds more than this host has kept over a power cut. */
  get isDone(): boolean {
    return this.#log.ended && this.#held >= this.#log.length;
  }

  get mayGoOn(): boolean {
    return this.#sent < this.#log.length && this.#sent - this.#held <= window - chunk;
  }

  async sendNext(): Promise<void> {
    const { executionId } = this.#log;
    const frames = await this.#log.read(this.#sent, chunk);
    if (frames.length === 0) throw new Error('the output log is shorter than it was');
    this.#throwFailure();
    this.#expect(this.#sink.append(executionId, this.#sent, frames));
    this.#sent += frames.length;
  }

  /** Until there is something to do. */
  async wait(): Promise<void> {
    this.#throwFailure();
    await Promise.race([this.#progress.wait(), this.#log.changed()]);
    this.#throwFailure();
  }

  end(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#sink.finish?.(this.#log.executionId);
  }

  get #held(): number {
    return this.#committed ?? 0;
  }

  #expect(answer: Promise<number>): void {
    answer.then(
      (committed) => {
        this.#committed = Math.max(this.#held, committed);
        this.#progress.notify();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#progress.notify();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

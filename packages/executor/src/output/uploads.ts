import { setTimeout as sleep } from 'node:timers/promises';
import { isCscError } from '@csc-fleet/common/errors';
import { firstToRing, type Log, Signal } from '@csc-fleet/common/service';
import type { ReadableLog } from './read-log.ts';
import { type OutputSink, pushOutput } from './uplink.ts';

const firstPauseMs = 250;
const longestPauseMs = 10_000;

interface Upload {
  readonly stop: AbortController;
  ended: Promise<void>;
  moved: boolean;
}

/** Brings output logs to the gate, each until the gate holds all of it, however often the gate goes away. */
export class Uploads {
  readonly #sink: OutputSink;
  readonly #log: Log;
  readonly #onShort: (executionId: string, held: number) => void;
  readonly #running = new Map<string, Upload>();
  readonly #wake = new Signal();
  #wakes = 0;

  /** @param onShort told how many bytes of an ended log the gate holds, where it cannot be brought more of it */
  constructor(sink: OutputSink, log: Log, onShort: (executionId: string, held: number) => void = () => {}) {
    this.#sink = sink;
    this.#log = log;
    this.#onShort = onShort;
  }

  /**
   * Resolves once the gate has all of it, does not know it, or the upload was stopped; never rejects. Of a log that is
   * being brought already there is no second upload.
   */
  start(output: ReadableLog): Promise<void> {
    const { executionId } = output;
    const before = this.#running.get(executionId);
    if (before?.stop.signal.aborted === false) return before.ended;
    const upload: Upload = { stop: new AbortController(), ended: Promise.resolve(), moved: true };
    upload.ended = (before?.ended ?? Promise.resolve())
      .then(() => this.#bring(output, upload))
      .finally(() => {
        if (this.#running.get(executionId) === upload) this.#running.delete(executionId);
      });
    this.#running.set(executionId, upload);
    return upload.ended;
  }

  /** Whether the gate has taken anything of this log since the last time that somebody asked. */
  hasMoved(executionId: string): boolean {
    const upload = this.#running.get(executionId);
    const moved = upload?.moved === true;
    if (upload !== undefined) upload.moved = false;
    return moved;
  }

  /** The gate needs no more of this log. Resolves once it is no longer read. */
  async stop(executionId: string): Promise<void> {
    const upload = this.#running.get(executionId);
    upload?.stop.abort();
    await upload?.ended;
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((executionId) => this.stop(executionId)));
  }

  /** The gate is back: those that wait before they try again try now. */
  wake(): void {
    this.#wakes++;
    this.#wake.ring();
  }

  async #bring(output: ReadableLog, upload: Upload): Promise<void> {
    const { signal } = upload.stop;
    while (output.length === 0 && !output.ended && !signal.aborted) await output.changed(signal);
    if (output.length === 0) return;
    let pause = firstPauseMs;
    while (!signal.aborted) {
      try {
        const held = await pushOutput(output, this.#sink, signal, () => {
          upload.moved = true;
        });
        if (held < output.length) this.#onShort(output.executionId, held);
        return;
      } catch (error) {
        if (signal.aborted || isCscError(error, 'EXECUTION_UNKNOWN')) return;
        this.#log.warn({ executionId: output.executionId, error }, 'output could not be sent; trying again');
        const wakes = this.#wakes;
        await firstToRing(
          (abort) => this.#wake.wait(abort),
          (abort) => sleep(pause, undefined, { signal: AbortSignal.any([signal, abort]) }).catch(() => {}),
        );
        // A gate that is back may not be so yet for the connection that output takes, which has a backoff of its own.
        pause = this.#wakes === wakes ? Math.min(2 * pause, longestPauseMs) : firstPauseMs;
      }
    }
  }
}

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { isCscError } from '@csc-fleet/common/errors';
import type { Log } from '../log.ts';
import type { OutputLog } from './output-log.ts';
import { ChangeSignal } from './signal.ts';
import { type OutputSink, pushOutput } from './uplink.ts';

const firstPauseMs = 250;
const longestPauseMs = 10_000;

interface Upload {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
  /** Whether the last attempt failed. */
  failed: boolean;
}

/** Brings output logs to the gate, each until the gate holds all of it, however often the gate goes away. */
export class Uploads {
  readonly #sink: OutputSink;
  readonly #log: Log;
  readonly #running = new Map<string, Upload>();
  readonly #wake = new ChangeSignal();

  constructor(sink: OutputSink, log: Log) {
    this.#sink = sink;
    this.#log = log;
  }

  /** Does nothing where this log is being brought already. */
  start(output: OutputLog): void {
    const { executionId } = output;
    const before = this.#running.get(executionId);
    if (before?.stop.signal.aborted === false) return;
    const stop = new AbortController();
    const ended = (before?.ended ?? Promise.resolve())
      .then(() => this.#bring(output, upload))
      .finally(() => {
        if (this.#running.get(executionId) === upload) this.#running.delete(executionId);
      });
    const upload: Upload = { stop, ended, failed: false };
    this.#running.set(executionId, upload);
  }

  /** False where there is nothing more to bring of this log, and where the gate does not take it. */
  isFlowing(executionId: string): boolean {
    return this.#running.get(executionId)?.failed === false;
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
    this.#wake.notify();
  }

  async #bring(output: OutputLog, upload: Upload): Promise<void> {
    const { signal } = upload.stop;
    const stopped = once(signal, 'abort');
    while (output.length === 0 && !output.ended && !signal.aborted)
      await Promise.race([output.changed(), stopped]);
    if (output.length === 0) return;
    for (let pause = firstPauseMs; !signal.aborted; pause = Math.min(2 * pause, longestPauseMs)) {
      try {
        await pushOutput(output, this.#sink, signal, () => {
          upload.failed = false;
        });
        return;
      } catch (error) {
        if (signal.aborted || isCscError(error, 'EXECUTION_UNKNOWN')) return;
        upload.failed = true;
        this.#log.warn({ executionId: output.executionId, error }, 'output could not be sent; trying again');
        await Promise.race([this.#wake.wait(), sleep(pause, undefined, { signal }).catch(() => {})]);
      }
    }
  }
}

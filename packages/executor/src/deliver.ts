import type { FinishedExecution, Journal } from './journal/index.ts';
import type { Outbox } from './link/outbox.ts';
import type { Log } from './log.ts';
import {
  type OutputLog,
  type OutputSink,
  type SpoolDirectory,
  type StoredLog,
  Uploads,
} from './output/index.ts';

/** What deliveries need of their host. */
export interface DeliveryHost {
  readonly journal: Journal;
  readonly spools: SpoolDirectory;
  readonly log: Log;
}

interface Pending {
  readonly finished: FinishedExecution;
  readonly output: StoredLog;
}

/** Brings receipts and output to the gate, again after every reconnect, until it has acknowledged them. */
export class Deliveries {
  readonly #host: DeliveryHost;
  readonly #outbox: Outbox;
  readonly #uploads: Uploads;
  readonly #pending = new Map<string, Pending>();
  readonly #clearing = new Set<Promise<void>>();
  #whenEmpty: (() => void)[] = [];

  constructor(host: DeliveryHost, outbox: Outbox, sink: OutputSink) {
    this.#host = host;
    this.#outbox = outbox;
    this.#uploads = new Uploads(sink, host.log);
  }

  /** Output that is still coming is sent as it comes. */
  upload(output: OutputLog): void {
    this.#uploads.start(output);
  }

  /** The receipt is journalled: from here on it is sent until it is acknowledged. */
  add(finished: FinishedExecution, output: StoredLog): void {
    this.#pending.set(finished.executionId, { finished, output });
    if (this.#outbox.isOpen) this.#send({ finished, output });
  }

  /** The gate is back and may have missed anything. */
  redeliver(): void {
    for (const pending of this.#pending.values()) this.#send(pending);
    this.#uploads.wake();
  }

  /** The gate holds the receipt and all of the output. */
  acknowledged(executionId: string): void {
    const pending = this.#pending.get(executionId);
    if (pending === undefined) return;
    this.#pending.delete(executionId);
    const cleared = this.#clear(pending).finally(() => this.#clearing.delete(cleared));
    this.#clearing.add(cleared);
    Promise.all([this.#host.journal.acknowledge(executionId), cleared]).catch((error: unknown) => {
      this.#host.log.warn({ executionId, error }, 'a delivered execution could not be cleared away');
    });
    if (this.#pending.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  /** Resolves when nothing waits for the gate. */
  empty(): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenEmpty.push(resolve);
    });
  }

  /** Stops sending. What is not acknowledged stays in the journal. */
  async close(): Promise<void> {
    await this.#uploads.stopAll();
    await Promise.allSettled(this.#clearing);
    for (const { output } of this.#pending.values()) await output.close();
  }

  #send({ finished, output }: Pending): void {
    const { executionId, receiptJson, outputLogLength } = finished;
    this.#uploads.start(output);
    const value = { executionId, receiptJson: Buffer.from(receiptJson), outputLogLength };
    this.#outbox.post({ $case: 'receipt', value });
  }

  // Even if this is all that a crash leaves done: the gate has what the log held.
  async #clear({ finished: { executionId }, output }: Pending): Promise<void> {
    await this.#uploads.stop(executionId);
    await output.close();
    await this.#host.spools.remove(executionId);
  }
}

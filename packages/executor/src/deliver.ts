import { CscError } from '@csc-fleet/common/errors';
import type { Refused } from '@csc-fleet/common/messages';
import type { FinishedExecution, Journal, OwedReceipt } from './journal/index.ts';
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

/** How much may be owed to the gate and under way to it. */
export const deliveryLimits = {
  /** Receipts that no gate has acknowledged, on disk: with more, nothing new is taken. */
  owed: 4096,
  owedBytes: 64 * 1024 * 1024,
  /** Receipts that were sent and not acknowledged yet; one may be larger than all the bytes. */
  sent: 8,
  sentBytes: 4 * 1024 * 1024,
  /** After this long without an answer, the next one has its turn. */
  patienceMs: 30_000,
};

interface Flight {
  readonly bytes: number;
  readonly patience: NodeJS.Timeout;
}

/**
 * Brings receipts and output to the gate, again after every reconnect, until it has acknowledged them. What is owed lies
 * in the journal and the spool: a few are under way at a time, and the next one has its turn when one is acknowledged.
 */
export class Deliveries {
  readonly #host: DeliveryHost;
  readonly #outbox: Outbox;
  readonly #uploads: Uploads;
  /** In the order in which they came to be. */
  readonly #owed = new Map<string, OwedReceipt>();
  readonly #flights = new Map<string, Flight>();
  /** Said on this connection: the gate can acknowledge only those. */
  readonly #said = new Set<string>();
  /** The output of those that are under way. */
  readonly #logs = new Map<string, StoredLog>();
  readonly #clearing = new Set<Promise<void>>();
  #owedBytes = 0;
  /** Those that wait for their turn on this connection. */
  #line: string[] = [];
  #whenEmpty: (() => void)[] = [];

  constructor(host: DeliveryHost, outbox: Outbox, sink: OutputSink) {
    this.#host = host;
    this.#outbox = outbox;
    this.#uploads = new Uploads(sink, host.log);
  }

  /** Throws SPOOL_FULL where so much is owed to the gate that nothing may be added to it. */
  checkRoom(): void {
    const { size } = this.#owed;
    if (size < deliveryLimits.owed && this.#owedBytes < deliveryLimits.owedBytes) return;
    const message = `this host has ${size} receipts (${this.#owedBytes} bytes) that its gate has not acknowledged: it takes nothing new before`;
    throw new CscError('SPOOL_FULL', message);
  }

  /** Output that is still coming is sent as it comes. */
  upload(output: OutputLog): void {
    this.#uploads.start(output);
  }

  /** The receipt is journalled: from here on it is sent until it is acknowledged. */
  add({ executionId, receiptJson, outputLogLength }: FinishedExecution, output: StoredLog): void {
    this.#logs.set(executionId, output);
    this.owe({ executionId, receiptLength: receiptJson.length, outputLogLength });
    // Its turn is later: until then its output is as good on disk.
    if (!this.#flights.has(executionId)) this.#park(executionId);
  }

  /** The same for a refusal, which the gate gets as such where it is there to hear it, and later as a receipt. */
  addRefusal(refused: Refused): void {
    const { executionId, receiptJson } = refused;
    const receipt = { executionId, receiptLength: receiptJson.length, outputLogLength: 0 };
    if (this.#outbox.isOpen && this.#line.length === 0 && this.#hasRoom(receipt)) {
      this.#note(receipt);
      this.#takeOff(receipt);
      this.#outbox.post({ $case: 'refused', value: refused });
    } else this.owe(receipt);
  }

  /** A receipt that is in the journal, with its output on disk. */
  owe(receipt: OwedReceipt): void {
    this.#note(receipt);
    this.#line.push(receipt.executionId);
    this.#sendNext();
  }

  /** The gate is back and may have missed anything. */
  redeliver(): void {
    const underWay = [...this.#flights.keys()];
    for (const { patience } of this.#flights.values()) clearTimeout(patience);
    this.#flights.clear();
    this.#said.clear();
    this.#line = [...new Set([...underWay, ...this.#owed.keys()])];
    this.#uploads.wake();
    this.#sendNext();
  }

  /** The gate holds the receipt and all of the output. */
  acknowledged(executionId: string): void {
    const receipt = this.#owed.get(executionId);
    if (receipt === undefined || !this.#said.has(executionId)) return;
    this.#owed.delete(executionId);
    this.#owedBytes -= receipt.receiptLength;
    this.#land(executionId);
    const cleared = this.#clear(executionId).finally(() => this.#clearing.delete(cleared));
    this.#clearing.add(cleared);
    Promise.all([this.#host.journal.acknowledge(executionId), cleared]).catch((error: unknown) => {
      this.#host.log.warn({ executionId, error }, 'a delivered execution could not be cleared away');
    });
    this.#sendNext();
    if (this.#owed.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  /** Resolves when nothing waits for the gate. */
  empty(): Promise<void> {
    if (this.#owed.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenEmpty.push(resolve);
    });
  }

  /** Stops sending. What is not acknowledged stays in the journal. */
  async close(): Promise<void> {
    for (const executionId of this.#flights.keys()) this.#land(executionId);
    await this.#uploads.stopAll();
    await Promise.allSettled(this.#clearing);
    for (const output of this.#logs.values()) await output.close();
  }

  #note(receipt: OwedReceipt): void {
    this.#owed.set(receipt.executionId, receipt);
    this.#owedBytes += receipt.receiptLength;
  }

  #sendNext(): void {
    while (this.#outbox.isOpen) {
      const receipt = this.#owed.get(this.#line[0] ?? '');
      if (receipt !== undefined && !this.#hasRoom(receipt)) return;
      if (this.#line.shift() === undefined) return;
      if (receipt !== undefined) this.#send(receipt);
    }
  }

  #hasRoom({ receiptLength }: OwedReceipt): boolean {
    const { size } = this.#flights;
    const bytes = [...this.#flights.values()].reduce((sum, flight) => sum + flight.bytes, receiptLength);
    return size === 0 || (size < deliveryLimits.sent && bytes <= deliveryLimits.sentBytes);
  }

  #send(receipt: OwedReceipt): void {
    const { executionId, outputLogLength } = receipt;
    const receiptJson = this.#read(executionId);
    if (receiptJson === undefined) return;
    this.#takeOff(receipt);
    if (outputLogLength > 0) this.#uploads.start(this.#openLog(receipt));
    const value = { executionId, receiptJson: Buffer.from(receiptJson), outputLogLength };
    this.#outbox.post({ $case: 'receipt', value });
  }

  #read(executionId: string): Uint8Array | undefined {
    try {
      return this.#host.journal.receiptOf(executionId);
    } catch (error) {
      this.#host.log.error(
        { executionId, error },
        'a receipt could not be read; it is sent with the next connection',
      );
      return undefined;
    }
  }

  #openLog({ executionId, outputLogLength }: OwedReceipt): StoredLog {
    const known = this.#logs.get(executionId);
    if (known !== undefined) return known;
    const opened = this.#host.spools.reopen(executionId, outputLogLength);
    this.#logs.set(executionId, opened);
    return opened;
  }

  #takeOff({ executionId, receiptLength }: OwedReceipt): void {
    this.#said.add(executionId);
    const patience = setInterval(() => this.#lose(executionId), deliveryLimits.patienceMs).unref();
    this.#flights.set(executionId, { bytes: receiptLength, patience });
  }

  #land(executionId: string): void {
    clearInterval(this.#flights.get(executionId)?.patience);
    this.#flights.delete(executionId);
  }

  // A gate that does not take this receipt may well take the others. It is owed until the gate says otherwise.
  #lose(executionId: string): void {
    if (this.#uploads.isFlowing(executionId)) return;
    this.#land(executionId);
    this.#park(executionId);
    this.#sendNext();
  }

  #park(executionId: string): void {
    const output = this.#logs.get(executionId);
    this.#logs.delete(executionId);
    const parked = this.#uploads.stop(executionId).then(() => output?.close());
    parked.catch((error: unknown) =>
      this.#host.log.warn({ executionId, error }, 'an output log could not be closed'),
    );
  }

  // Even if this is all that a crash leaves done: the gate has what the log held.
  async #clear(executionId: string): Promise<void> {
    const output = this.#logs.get(executionId);
    this.#logs.delete(executionId);
    await this.#uploads.stop(executionId);
    await output?.close();
    await this.#host.spools.remove(executionId);
  }
}

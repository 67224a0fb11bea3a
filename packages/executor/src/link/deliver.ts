import { toBuffer } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { ReceiptTexts } from '@csc-fleet/common/evidence';
import type { Refused } from '@csc-fleet/common/messages';
import type { Log } from '@csc-fleet/common/service';
import type { ActiveSpan, TraceContext, Tracing } from '@csc-fleet/common/tracing';
import type { FinishedExecution, Journal, OwedReceipt } from '../journal/index.ts';
import {
  Backlog,
  type BackloggedLog,
  type OutputSink,
  type ReadableLog,
  type SpoolDirectory,
  type StoredLog,
  Uploads,
} from '../output/index.ts';
import type { Outbox } from './outbox.ts';

/** What deliveries need of their host. */
export interface DeliveryHost {
  readonly journal: Journal;
  readonly spools: SpoolDirectory;
  readonly log: Log;
  /** Told how long a receipt was owed, in seconds, once the gate has acknowledged it. Absent: nobody asks. */
  readonly delivered?: (seconds: number) => void;
  /** Whether what is acknowledged is looked for in the gate's log. Absent: it is not. */
  readonly isLookedFor?: () => boolean;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

/** Receipts that no gate has acknowledged, on disk. With more, nothing new is taken. */
export const owedLimits = { count: 4096, bytes: 64 * 1024 * 1024 };

/**
 * Brings receipts and output to the gate, again after every reconnect, until it has acknowledged them. What is owed lies
 * in the journal and the spool: a receipt is read when it has its turn, which is when the gate has taken those before.
 */
export class Deliveries {
  readonly #host: DeliveryHost;
  readonly #outbox: Outbox;
  readonly #uploads: Uploads;
  readonly #backlog: Backlog;
  /** In the order in which they came to be. */
  readonly #owed = new Map<string, OwedReceipt>();
  /** Since when, in milliseconds of the monotonic clock; in the same order. */
  readonly #owedSince = new Map<string, number>();
  /** Those of them that were brought since the last Welcome: the gate can acknowledge no others. */
  readonly #said = new Set<string>();
  /** Those of them that were brought in any connection. */
  readonly #brought = new Set<string>();
  readonly #clearing = new Set<Promise<void>>();
  /** Of those of them that are of a trace. */
  readonly #spans = new Map<string, ActiveSpan>();
  /** Acknowledged, which could not be written down yet, or is being written down. */
  readonly #unwritten = new Set<string>();
  #owedBytes = 0;
  #whenEmpty: (() => void)[] = [];

  constructor(host: DeliveryHost, outbox: Outbox, sink: OutputSink) {
    this.#host = host;
    this.#outbox = outbox;
    this.#uploads = new Uploads(sink, host.log, (executionId, held) => this.#shorten(executionId, held));
    this.#backlog = new Backlog(this.#uploads, host.log);
    outbox.onRoom(() => this.#sayNext());
  }

  /** Throws SPOOL_FULL where so much is owed to the gate that nothing may be added to it. */
  checkRoom(): void {
    const { size } = this.#owed;
    if (size < owedLimits.count && this.#owedBytes < owedLimits.bytes) return;
    const message = `this host has ${size} receipts (${this.#owedBytes} bytes) that its gate has not acknowledged: it takes nothing new before`;
    throw new CscError('SPOOL_FULL', message);
  }

  /** What the gate has not acknowledged: receipts, their bytes, and how long the oldest has waited, in milliseconds. */
  get owed(): { readonly count: number; readonly bytes: number; readonly oldestMs: number } {
    const [oldest] = this.#owedSince.values();
    const oldestMs = oldest === undefined ? 0 : performance.now() - oldest;
    return { count: this.#owed.size, bytes: this.#owedBytes, oldestMs };
  }

  /** What the gate was brought and has not acknowledged, the oldest first. */
  brought(): readonly { readonly executionId: string; readonly hasOutput: boolean }[] {
    return [...this.#owed.values()]
      .filter(({ executionId }) => this.#brought.has(executionId))
      .map(({ executionId, outputLogLength }) => ({ executionId, hasOutput: outputLogLength > 0 }));
  }

  /** Output that is still coming is sent as it comes. */
  upload(output: ReadableLog): void {
    void this.#uploads.start(output);
  }

  /** The receipt is journalled: from here on it is sent until it is acknowledged. */
  add(finished: FinishedExecution, output: StoredLog): void {
    const receipt = toOwed(finished);
    this.#note(receipt);
    if (receipt.outputLogLength > 0) this.#backlog.add(this.#toBacklog(receipt), output);
    // A full disk leaves a file with nothing in it.
    else void output.close().catch(() => undefined);
    this.#sayNext(finished);
  }

  /** What is owed of an execution belongs here in a trace: how long it takes from now is told of that. */
  traced(executionId: string, parent: TraceContext | undefined): void {
    if (this.#host.tracing === undefined || parent === undefined || !this.#owed.has(executionId)) return;
    const facts = { 'csc.execution.id': executionId };
    this.#spans.set(executionId, this.#host.tracing.begin('csc.executor.deliver', { parent, facts }));
  }

  /** The same for a refusal, which the gate gets as such where it is there to hear it, and later as a receipt. */
  addRefusal(refused: Refused): void {
    const { executionId } = refused;
    this.#note(toOwed({ ...refused, outputLogLength: 0 }));
    if (!this.#outbox.hasRoom) return;
    this.#said.add(executionId);
    this.#brought.add(executionId);
    this.#outbox.post({ $case: 'refused', value: refused });
  }

  /** A receipt that is in the journal, with its output on disk. */
  owe(receipt: OwedReceipt): void {
    this.#note(receipt);
    if (receipt.outputLogLength > 0) this.#backlog.add(this.#toBacklog(receipt));
    this.#sayNext();
  }

  /** The gate is back and may have missed anything. */
  redeliver(): void {
    this.#said.clear();
    void this.again();
    this.#uploads.wake();
    for (const receipt of this.#owed.values())
      if (receipt.outputLogLength > 0) this.#backlog.add(this.#toBacklog(receipt));
    this.#sayNext();
  }

  /** The gate holds the receipt and all of the output. */
  acknowledged(executionId: string): void {
    const receipt = this.#owed.get(executionId);
    if (receipt === undefined || !this.#said.has(executionId)) return;
    this.#owed.delete(executionId);
    this.#brought.delete(executionId);
    const since = this.#owedSince.get(executionId) ?? performance.now();
    this.#owedSince.delete(executionId);
    this.#host.delivered?.((performance.now() - since) / 1000);
    this.#spans.get(executionId)?.end();
    this.#spans.delete(executionId);
    this.#owedBytes -= receipt.receiptLength;
    this.#unwritten.add(executionId);
    void this.#clearAway(executionId);
    if (this.#owed.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  /** Clears away what could not be cleared away when the gate acknowledged it, as on a full disk. Never rejects. */
  async again(): Promise<void> {
    for (const executionId of this.#unwritten) await this.#clearAway(executionId);
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
    for (const span of this.#spans.values()) span.end('DRAINING');
    await this.#uploads.stopAll();
    await this.#backlog.close();
    await Promise.allSettled(this.#clearing);
  }

  #note(receipt: OwedReceipt): void {
    this.#owed.set(receipt.executionId, receipt);
    this.#owedSince.set(receipt.executionId, performance.now());
    this.#owedBytes += receipt.receiptLength;
  }

  #toBacklog({ executionId, outputLogLength }: OwedReceipt): BackloggedLog {
    return { executionId, open: () => this.#host.spools.reopen(executionId, outputLogLength) };
  }

  // Each once a connection. What was signed just now is at hand; what waits for its turn is not kept in memory for that.
  #sayNext(atHand?: FinishedExecution): void {
    if (!this.#outbox.hasRoom) return;
    for (const receipt of this.#owed.values()) {
      if (this.#said.has(receipt.executionId)) continue;
      this.#said.add(receipt.executionId);
      this.#brought.add(receipt.executionId);
      this.#say(
        receipt,
        receipt.executionId === atHand?.executionId ? atHand : this.#read(receipt.executionId),
      );
      if (!this.#outbox.hasRoom) return;
    }
  }

  // The rest of its log cannot be read, or is not what a gate takes: its receipt must come all the same, and once more.
  #shorten(executionId: string, held: number): void {
    const receipt = this.#owed.get(executionId);
    if (receipt === undefined || held >= receipt.outputLogLength) return;
    const { outputLogLength, signedLogLength = outputLogLength } = receipt;
    this.#host.log.error(
      { executionId, promised: signedLogLength, length: held },
      'output that a receipt vouches for cannot be brought to the gate, which gets the receipt without it',
    );
    this.#owed.set(executionId, { ...receipt, outputLogLength: held, signedLogLength });
    this.#said.delete(executionId);
    this.#sayNext();
  }

  #say(
    { executionId, outputLogLength, signedLogLength }: OwedReceipt,
    texts: ReceiptTexts | undefined,
  ): void {
    if (texts === undefined) return;
    const receiptJson = toBuffer(texts.receiptJson);
    const originalJson = toBuffer(texts.originalJson ?? new Uint8Array());
    const value = { executionId, receiptJson, originalJson, outputLogLength, signedLogLength };
    this.#outbox.post({ $case: 'receipt', value });
  }

  #read(executionId: string): ReceiptTexts | undefined {
    try {
      return this.#host.journal.receiptOf(executionId);
    } catch (error) {
      const message = 'a receipt could not be read from the journal; it is brought with the next connection';
      this.#host.log.error({ executionId, error }, message);
      return undefined;
    }
  }

  async #clearAway(executionId: string): Promise<void> {
    const { journal, log, isLookedFor = () => false } = this.#host;
    const cleared = this.#clear(executionId).finally(() => this.#clearing.delete(cleared));
    this.#clearing.add(cleared);
    try {
      await Promise.all([journal.acknowledge(executionId, isLookedFor()), cleared]);
      this.#unwritten.delete(executionId);
    } catch (error) {
      log.warn({ executionId, error }, 'a delivered execution could not be cleared away yet');
    }
  }

  // Even if this is all that a crash leaves done: the gate has what the log held.
  async #clear(executionId: string): Promise<void> {
    await this.#backlog.drop(executionId);
    await this.#host.spools.remove(executionId);
  }
}

/** What is remembered of a receipt while it is owed. */
export function toOwed({
  executionId,
  receiptJson,
  originalJson,
  outputLogLength,
}: FinishedExecution): OwedReceipt {
  const receiptLength = receiptJson.length + (originalJson?.length ?? 0);
  return { executionId, receiptLength, outputLogLength };
}

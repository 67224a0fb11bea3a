import { CscError } from '@csc-fleet/common/errors';
import { signExecutorKey } from '@csc-fleet/common/executor-key';
import type { Hello, Offer } from '@csc-fleet/common/messages';
import type { Deliveries } from './deliver.ts';
import { execute } from './execute.ts';
import type { Host } from './host.ts';
import type { Outbox, Send } from './link/outbox.ts';
import { type LinkConnection, type LinkHandlers, openSession } from './link/session.ts';
import { toRefused } from './refuse.ts';
import { Run } from './run.ts';
import { executorVersion } from './version.ts';

/** An executor without a transport: whoever connects it brings the gate's messages and takes its own. */
export interface Executor {
  readonly executorId: string;
  /**
   * A connection to the gate. `send` gets Hello at once, and later messages until `closed`. A new connection takes
   * the place of the one before it.
   */
  connect(send: Send): LinkConnection;
  /** Takes no more offers. Resolves once nothing runs. */
  drain(): Promise<void>;
  /** Resolves once the gate has acknowledged every receipt. */
  delivered(): Promise<void>;
  /** Ends what runs: SIGTERM, and SIGKILL after `graceMs`. Each still gets its receipt. */
  cancelAll(graceMs: number): void;
  /** Drains, then gives everything back. Receipts that are not delivered are at the next start. */
  close(): Promise<void>;
}

/** What an executor is beside its host. */
export interface ExecutorParts {
  readonly host: Host;
  readonly outbox: Outbox;
  readonly deliveries: Deliveries;
  readonly labels: Readonly<Record<string, string>>;
  /** Executions at once. */
  readonly slots: number;
  /** Called by `close`, once nothing runs. */
  release(): Promise<void>;
}

/** Takes offers as far as there are slots, and knows what runs. */
export class LinkedExecutor implements Executor {
  readonly #parts: ExecutorParts;
  readonly #runs = new Map<string, Run>();
  readonly #whenIdle: (() => void)[] = [];
  readonly #handlers: LinkHandlers;
  #draining = false;
  #connection: LinkConnection | undefined;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    const { deliveries } = parts;
    this.#handlers = {
      welcomed: () => deliveries.redeliver(),
      offered: (offer) => void this.#offered(offer),
      cancelled: (executionId, graceMs) => this.#runs.get(executionId)?.stop('cancelled', graceMs),
      acknowledged: (executionId) => deliveries.acknowledged(executionId),
      draining: () => {
        this.#draining = true;
      },
      running: () => this.#open().length,
    };
  }

  get executorId(): string {
    return this.#parts.host.executorId;
  }

  connect(send: Send): LinkConnection {
    this.#connection?.closed();
    this.#connection = openSession(this.#hello(), send, this.#parts.outbox, this.#handlers);
    return this.#connection;
  }

  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#runs.size > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  delivered(): Promise<void> {
    return this.#parts.deliveries.empty();
  }

  cancelAll(graceMs: number): void {
    for (const run of this.#runs.values()) run.stop('cancelled', graceMs);
  }

  async close(): Promise<void> {
    await this.drain();
    this.#connection?.closed();
    await this.#parts.release();
  }

  async #offered(offer: Offer): Promise<void> {
    const { host, outbox } = this.#parts;
    const { executionId } = offer;
    const connection = this.#connection;
    if (this.#open().some((run) => run.executionId === executionId)) {
      const replayed = new CscError('TICKET_REPLAYED', 'this execution is under way here');
      outbox.post({ $case: 'refused', value: toRefused(offer, replayed, {}, host) });
      return;
    }
    const run = new Run(executionId);
    this.#runs.set(executionId, run);
    try {
      await execute(offer, run, host, {
        ...this.#parts,
        checkRoom: () => this.#checkRoom(),
        checkConnected: () => checkConnected(connection),
      });
    } catch (error) {
      host.log.error({ executionId, error }, 'an execution has no receipt before the next start');
    }
    if (this.#runs.get(executionId) === run) this.#runs.delete(executionId);
    if (this.#runs.size === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  // The offer that asks is among the open ones.
  #checkRoom(): void {
    const { slots } = this.#parts;
    if (this.#draining) throw new CscError('DRAINING', 'this executor takes no more executions');
    if (this.#open().length > slots) {
      throw new CscError('QUEUE_FULL', `all slots of this executor (${slots}) are taken`);
    }
  }

  #open(): Run[] {
    return [...this.#runs.values()].filter(({ state }) => state === 'open');
  }

  #hello(): Hello {
    const { host, labels, slots } = this.#parts;
    const redeeming = this.#open().map(({ executionId }) => executionId);
    return {
      labels: { ...labels },
      slots,
      version: executorVersion,
      receiptKeyId: host.signer.keyId,
      receiptPublicKey: Buffer.from(host.signer.publicKey),
      receiptKeyStatementJson: signExecutorKey(host.identity, host.signer, host.clock.now()),
      policySha256s: host.policies.all().map(({ sha256 }) => sha256),
      executionMode: host.workplace.mode,
      // The journal has the last word: what it holds must not be offered again, even where its receipt is held up.
      executionIds: [...new Set([...redeeming, ...host.journal.unacknowledged()])],
    };
  }
}

function checkConnected(connection: LinkConnection | undefined): void {
  if (connection?.isOpen === true) return;
  throw new CscError('DRAINING', 'the link broke before anything had started');
}

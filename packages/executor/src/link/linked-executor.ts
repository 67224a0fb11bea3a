import { CscError } from '@csc-fleet/common/errors';
import { signExecutorKey } from '@csc-fleet/common/evidence';
import type { Hello, Offer } from '@csc-fleet/common/messages';
import { asOwner } from '@csc-fleet/common/service';
import { toUnsigned } from '../admission/refuse.ts';
import { executorVersion } from '../evidence/version.ts';
import { execute } from '../execute.ts';
import type { Host } from '../run/host.ts';
import { Run } from '../run/run.ts';
import type { Deliveries } from './deliver.ts';
import type { Outbox, Send } from './outbox.ts';
import { type LinkConnection, type LinkHandlers, openSession, type Wire } from './session.ts';

/** An executor without a transport: whoever connects it brings the gate's messages and takes its own. */
export interface Executor {
  readonly executorId: string;
  /**
   * A connection to the gate. `send` gets Hello at once, and later messages until `closed`. A new connection takes
   * the place of the one before it.
   * @param hangUp called, once, where this side ends the connection; it is closed then
   */
  connect(send: Send, hangUp?: Wire['hangUp']): LinkConnection;
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

// Offers that may be looked at beside those that run and those that were refused in their place.
const spareOffers = 16;

/** Takes offers as far as there are slots, and knows what runs. */
export class LinkedExecutor implements Executor {
  readonly #parts: ExecutorParts;
  readonly #runs = new Map<string, Run>();
  readonly #whenIdle: (() => void)[] = [];
  readonly #handlers: LinkHandlers;
  /** With those that are refused and not yet cleared away. */
  #underWay = 0;
  #closing = false;
  #connection: LinkConnection | undefined;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    const { deliveries } = parts;
    this.#handlers = {
      welcomed: () => deliveries.redeliver(),
      offered: (offer) => this.#offered(offer),
      cancelled: (executionId, graceMs) => this.#runs.get(executionId)?.stop('cancelled', graceMs),
      withdrawn: (executionId) => this.#runs.get(executionId)?.withdraw(),
      acknowledged: (executionId) => deliveries.acknowledged(executionId),
      running: () => this.#open().length,
    };
  }

  get executorId(): string {
    return this.#parts.host.executorId;
  }

  connect(send: Send, hangUp: Wire['hangUp'] = () => undefined): LinkConnection {
    this.#connection?.closed();
    this.#connection = openSession(this.#hello(), { send, hangUp }, this.#parts.outbox, this.#handlers);
    return this.#connection;
  }

  async drain(): Promise<void> {
    this.#closing = true;
    if (this.#underWay > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
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

  #offered(offer: Offer): void {
    const connection = this.#connection;
    try {
      this.#checkOffer(offer);
      void this.#run(offer, connection);
    } catch (error) {
      this.#parts.outbox.post({ $case: 'refused', value: toUnsigned(offer, error) });
    }
  }

  // What can be said without looking at its papers, so that they cost nothing.
  #checkOffer({ executionId }: Offer): void {
    const { deliveries, slots } = this.#parts;
    if (this.#known().includes(executionId))
      throw new CscError('TICKET_REPLAYED', 'this execution is under way here');
    // Those that are refused take no slot, but a sandbox that goes down or a receipt that is signed for a while.
    if (this.#underWay >= 2 * slots + spareOffers)
      throw new CscError('QUEUE_FULL', `this executor looks at ${this.#underWay} offers already`);
    deliveries.checkRoom();
  }

  async #run(offer: Offer, connection: LinkConnection | undefined): Promise<void> {
    const { host } = this.#parts;
    const { executionId } = offer;
    const run = new Run(executionId);
    this.#runs.set(executionId, run);
    this.#underWay += 1;
    const link = {
      ...this.#parts,
      checkRoom: () => this.#checkRoom(connection),
      checkWanted: () => {
        checkConnected(connection);
        run.checkWanted();
      },
    };
    try {
      await asOwner(run.owner, () => execute(offer, run, host, link));
    } catch (error) {
      host.log.error({ executionId, error }, 'an execution has no receipt before the next start');
    }
    run.settle();
    if (this.#runs.get(executionId) === run) this.#runs.delete(executionId);
    this.#underWay -= 1;
    if (this.#underWay === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  // The offer that asks is among the open ones. What a gate asks of a connection ends with it: the gate that comes back
  // finds a host that works.
  #checkRoom(connection: LinkConnection | undefined): void {
    const { slots } = this.#parts;
    if (this.#closing || connection?.isDraining === true)
      throw new CscError('DRAINING', 'this executor takes no more executions');
    if (this.#open().length > slots) {
      throw new CscError('QUEUE_FULL', `all slots of this executor (${slots}) are taken`);
    }
  }

  #open(): Run[] {
    return [...this.#runs.values()].filter(({ state }) => state === 'open');
  }

  // What may have an outcome that the journal does not show yet.
  #known(): string[] {
    const runs = [...this.#runs.values()].filter(({ state }) => state === 'open' || state === 'refusing');
    return runs.map(({ executionId }) => executionId);
  }

  #hello(): Hello {
    const { host, labels, slots } = this.#parts;
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
      executionIds: [...new Set([...this.#known(), ...host.journal.unacknowledged()])],
    };
  }
}

function checkConnected(connection: LinkConnection | undefined): void {
  if (connection?.isOpen === true) return;
  throw new CscError('DRAINING', 'the link broke before anything had started');
}

import type { Signer } from '@csc-fleet/common/crypto';
import { TokenBucket } from '@csc-fleet/common/doorway';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { signExecutorKey } from '@csc-fleet/common/evidence';
import type { Hello, Offer } from '@csc-fleet/common/messages';
import type { PolicySet } from '@csc-fleet/common/policy';
import { asOwner, type Log } from '@csc-fleet/common/service';
import { parseTraceContext, traceIdOf } from '@csc-fleet/common/tracing';
import { version } from '@csc-fleet/common/version';
import { endsRunning, type OwnersWord } from '../admission/owners.ts';
import { toUnsigned } from '../admission/refusal.ts';
import type { ExecutionMode } from '../evidence/index.ts';
import type { ExecutionLink } from '../execute.ts';
import type { Journal } from '../journal/index.ts';
import { LiveRun } from '../run/live-run.ts';
import { AwaitedOffers } from './awaited-offers.ts';
import { type LinkConnection, type LinkHandlers, openConnection, type Wire } from './connection.ts';
import type { Deliveries } from './deliver.ts';
import { createExecutionLink } from './execution-link.ts';
import type { Outbox, Send } from './outbox.ts';
import { OwnChain } from './own-chain.ts';

/** An executor without a transport: whoever connects it brings the gate's messages and takes its own. */
export interface Executor {
  readonly executorId: string;
  /**
   * A connection to the gate. `send` gets Hello at once, and later messages until `closed`. A new connection takes
   * the place of the one before it.
   * @param hangUp called, once, where this side ends the connection; it is closed then
   */
  connect(send: Send, hangUp?: Wire['hangUp']): LinkConnection;
  /** The id of the trace that what is under way here is of, as far as the gate says; undefined: of none. For the log. */
  traceOf(executionId: string): string | undefined;
  /** Takes no more offers. Resolves once nothing runs. */
  drain(): Promise<void>;
  /** Resolves once the gate has acknowledged every receipt. */
  delivered(): Promise<void>;
  /** Ends what runs: SIGTERM, and SIGKILL after `graceMs`. Each still gets its receipt. */
  endAll(reason: 'cancelled' | 'stopped' | 'fault', graceMs: number): void;
  /** Ends what the owners no longer let run, where they say so; each still gets its receipt. */
  reconsider(word: OwnersWord): void;
  /** Drains, then gives everything back. Receipts that are not delivered are at the next start. */
  close(): Promise<void>;
}

/** What an executor tells its gate of itself. */
export interface Introduction {
  readonly executorId: string;
  /** The whole SPIFFE id of its certificate. */
  readonly identity: string;
  /** Of its receipts. */
  readonly signer: Signer;
  readonly policies: Pick<PolicySet, 'all'>;
  readonly executionMode: ExecutionMode;
  /** What its sandbox can do, for people. */
  readonly sandbox: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** Executions at once. */
  readonly slots: number;
}

/** What an executor is made of. */
export interface ExecutorParts {
  readonly introduction: Introduction;
  /** Sees one offer to its end, as `execute` does. */
  execute(offer: Offer, run: LiveRun, link: ExecutionLink): Promise<void>;
  readonly journal: Pick<Journal, 'epoch' | 'beginEpoch' | 'bornAt' | 'head' | 'unacknowledged'>;
  readonly outbox: Outbox;
  readonly deliveries: Deliveries;
  /** How many runs it would have refused, were that not only tried out. */
  wouldRefuse(): number;
  /** Of the unacknowledged: those that get no receipt any more, as the disk has lost all that it is or could be made of. */
  receiptless(): readonly string[];
  /** Why nothing is taken for want of room on the disk, or of a certificate, for people; undefined where it is. */
  shortage(): string | undefined;
  /** Which certificate of this host does not count now, for people; undefined where all do. */
  endedCertificate(): string | undefined;
  /** Called when the owners have said something new. */
  reconsidered(): void;
  /** Called when the gate is there, and when it has heard something new of the owners. */
  readonly onPolicyNews: () => void;
  readonly clock: Clock;
  readonly log: Log;
  /** Called by `close`, once nothing runs. */
  release(): Promise<void>;
}

// What a job gets between SIGTERM and SIGKILL that its owners do not want to run any more.
const revokedGraceMs = 2000;

// Offers that may be looked at beside those that run and those that were refused in their place.
const spareOffers = 16;

// A gate can offer a genuine submission under ever new tickets, and withdraw each, or never write it down, once the sandbox is
// there: a ticket that was not redeemed is in no journal. A link that breaks costs each slot one.
const vainPerSec = 1;
const mostVain = (slots: number): number => 64 + 4 * slots;

// Worth a line: tickets are written for a clock that is off by up to 60 s, submissions and approvals are not.
const noticeableSkewMs = 5_000;

// As a gate takes it; a path of this host may be long, and have anything in it.
const toShortage = (text = ''): string => text.replace(/[\p{Cc}\p{Cs}\ufffd]/gu, '?').slice(0, 500);

const unwritten = 'the gate offers, and does not write down what it offers';

/** Takes offers as far as there are slots, and knows what runs. */
export class LinkedExecutor implements Executor {
  readonly #parts: ExecutorParts;
  readonly #runs = new Map<string, LiveRun>();
  readonly #awaited: AwaitedOffers;
  readonly #chain: OwnChain;
  readonly #whenIdle: (() => void)[] = [];
  readonly #handlers: LinkHandlers;
  /** Offers that cost something and came to nothing. */
  readonly #vain: TokenBucket;
  /** With those that are refused and not yet cleared away. */
  #underWay = 0;
  #closing = false;
  #connection: LinkConnection | undefined;
  #clockAheadMs: number | undefined;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    this.#vain = new TokenBucket(vainPerSec, mostVain(parts.introduction.slots), performance.now());
    this.#awaited = new AwaitedOffers(() => this.#connection?.hangUp(unwritten));
    this.#chain = new OwnChain(parts, () => this.#connection?.hangUp('it begins a new epoch'));
    const { deliveries, wouldRefuse, onPolicyNews } = parts;
    this.#handlers = {
      wouldRefuse,
      shortage: () => toShortage(parts.shortage()),
      welcomed: (chainHeadJson) => {
        if (this.#closing) this.#sayDraining();
        this.#chain.heard(chainHeadJson);
        deliveries.redeliver();
        onPolicyNews();
      },
      heardTime: (gatesNow) => this.#heardTime(gatesNow),
      now: () => parts.clock.now(),
      policyChanged: onPolicyNews,
      offered: (offer) => this.#offered(offer),
      confirmed: ({ number, void: isVoid }) => this.#awaited.settle(number, isVoid ? 'void' : 'given'),
      gone: () => this.#awaited.settleAll(),
      cancelled: (executionId, graceMs) => this.#runs.get(executionId)?.stop('cancelled', graceMs),
      withdrawn: (executionId) => this.#runs.get(executionId)?.withdraw(),
      acknowledged: (executionId) => deliveries.acknowledged(executionId),
      typed: async ({ executionId, frames }) => {
        const input = this.#runs.get(executionId)?.input;
        const taken = await input?.take(frames).catch(() => undefined);
        return { executionId, ...(taken ?? { sequence: 0, ended: 'it has no terminal here' }) };
      },
      running: () => this.#open().length,
      chainHead: () => this.#chain.head('once'),
    };
  }

  // For its owner alone: whose clock is wrong, this host cannot know.
  #heardTime(gatesNow: Date): void {
    const { clock, log } = this.#parts;
    const aheadMs = clock.now().getTime() - gatesNow.getTime();
    this.#clockAheadMs = aheadMs;
    if (Math.abs(aheadMs) <= noticeableSkewMs) return;
    const seconds = Math.round(Math.abs(aheadMs) / 1000);
    const where = aheadMs < 0 ? 'behind' : 'ahead of';
    log.warn(
      { seconds },
      `the clock of this host is ${where} its gate's: beyond 60 s, nothing is placed here before it is set right (timedatectl)`,
    );
  }

  /**
   * How far this host's clock is ahead of the gate's, negative where it is behind. Undefined before the gate has said
   * its time.
   */
  get clockAheadMs(): number | undefined {
    return this.#clockAheadMs;
  }

  /** Executions that are under way. */
  get running(): number {
    return this.#open().length;
  }

  get executorId(): string {
    return this.#parts.introduction.executorId;
  }

  connect(send: Send, hangUp: Wire['hangUp'] = () => undefined): LinkConnection {
    this.#connection?.closed();
    this.#connection = openConnection(this.#hello(), { send, hangUp }, this.#parts.outbox, this.#handlers);
    return this.#connection;
  }

  async drain(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      if (this.#connection?.isOpen === true) this.#sayDraining();
    }
    if (this.#underWay > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  // What was offered and not begun is for others, at once and not when they are refused it one by one.
  #sayDraining(): void {
    this.#parts.outbox.post({ $case: 'draining', value: {} });
  }

  delivered(): Promise<void> {
    return this.#parts.deliveries.empty();
  }

  endAll(reason: 'cancelled' | 'stopped' | 'fault', graceMs: number): void {
    for (const run of this.#runs.values()) {
      // Nobody may be there any more to confirm it.
      run.confirm('void');
      run.stop(reason, graceMs);
    }
  }

  reconsider(word: OwnersWord): void {
    this.#parts.reconsidered();
    for (const run of this.#runs.values())
      if (run.subject !== undefined && endsRunning(word, run.subject)) run.stop('revoked', revokedGraceMs);
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
      const refuse = (): void =>
        this.#parts.outbox.post({ $case: 'refused', value: toUnsigned(offer, error) });
      if (offer.number === undefined) refuse();
      else this.#awaited.add(offer.number, (confirmation) => confirmation === 'given' && refuse());
    }
  }

  // What can be said without looking at its papers, so that they cost nothing.
  #checkOffer({ executionId }: Offer): void {
    const { deliveries, introduction } = this.#parts;
    const ended = this.#parts.endedCertificate();
    // Without a receipt: that could not be verified either, and would use the ticket up.
    if (ended !== undefined) throw new CscError('SANDBOX_UNAVAILABLE', ended);
    if (this.#chain.isBeginning)
      throw new CscError('DRAINING', 'this executor begins a new epoch: its disk is older than it is');
    const run = this.#runs.get(executionId);
    if (run !== undefined && isUnderWay(run))
      throw new CscError('TICKET_REPLAYED', 'this execution is under way here');
    // Those that are refused take no slot, but a sandbox that goes down or a receipt that is signed for a while.
    if (this.#underWay >= 2 * introduction.slots + spareOffers)
      throw new CscError('QUEUE_FULL', `this executor looks at ${this.#underWay} offers already`);
    if (this.#vain.waitMs(performance.now()) > 0)
      throw new CscError(
        'QUEUE_FULL',
        'this executor has taken too many offers that came to nothing: it rests',
      );
    deliveries.checkRoom();
  }

  async #run(offer: Offer, connection: LinkConnection | undefined): Promise<void> {
    const { outbox, deliveries, log } = this.#parts;
    const { executionId } = offer;
    const trace = parseTraceContext(offer.traceparent, offer.tracestate);
    const run = new LiveRun(executionId, trace, offer.number === undefined ? 'given' : 'awaited');
    this.#runs.set(executionId, run);
    if (offer.number !== undefined)
      this.#awaited.add(offer.number, (confirmation) => run.confirm(confirmation));
    this.#underWay += 1;
    const link = {
      ...createExecutionLink(executionId, outbox, deliveries),
      checkRoom: () => this.#checkRoom(connection),
      checkWanted: () => {
        checkConnected(connection);
        run.checkWanted();
      },
    };
    try {
      await asOwner(run.owner, () => this.#parts.execute(offer, run, link));
    } catch (error) {
      log.error({ executionId, error }, 'an execution has no receipt before the next start');
    }
    if (run.isInVain) this.#vain.spend(1);
    run.settle();
    deliveries.traced(executionId, run.trace);
    this.#connection?.signed();
    if (this.#runs.get(executionId) === run) this.#runs.delete(executionId);
    this.#underWay -= 1;
    if (this.#underWay === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  traceOf(executionId: string): string | undefined {
    const trace = this.#runs.get(executionId)?.trace;
    return trace === undefined ? undefined : traceIdOf(trace);
  }

  // The offer that asks is among the open ones. What a gate asks of a connection ends with it: the gate that comes back
  // finds a host that works.
  #checkRoom(connection: LinkConnection | undefined): void {
    const { slots } = this.#parts.introduction;
    if (this.#closing || connection?.isDraining === true)
      throw new CscError('DRAINING', 'this executor takes no more executions');
    if (this.#open().length > slots) {
      throw new CscError('QUEUE_FULL', `all slots of this executor (${slots}) are taken`);
    }
  }

  #open(): LiveRun[] {
    return [...this.#runs.values()].filter(({ state }) => state === 'open');
  }

  #known(): string[] {
    return [...this.#runs.values()].filter(mayHaveOutcome).map(({ executionId }) => executionId);
  }

  #hello(): Hello {
    const { introduction, journal, clock } = this.#parts;
    const { identity, signer, policies, executionMode, sandbox, labels, slots } = introduction;
    return {
      labels: { ...labels },
      slots,
      version,
      receiptKeyId: signer.keyId,
      receiptPublicKey: Buffer.from(signer.publicKey),
      receiptKeyStatementJson: signExecutorKey(identity, signer, clock.now()),
      policySha256s: policies.all().map(({ sha256 }) => sha256),
      policies: policies.all().map(({ policy: { name }, sha256 }) => ({ name, sha256 })),
      sandbox: [...sandbox],
      executionMode,
      epoch: journal.epoch,
      chainHeadJson: this.#chain.head('again'),
      sentAt: this.#parts.clock.now(),
      shortage: toShortage(this.#parts.shortage()),
      // The journal has the last word: what it holds must not be offered again, even where its receipt is held up.
      executionIds: [...new Set([...this.#known(), ...journal.unacknowledged()])],
      receiptlessIds: [...this.#parts.receiptless()],
      confirms: true,
      takesTokens: true,
    };
  }
}

// One that the journal does not show yet.
function mayHaveOutcome(run: LiveRun): boolean {
  return isUnderWay(run) && run.confirmation === 'given';
}

function isUnderWay({ state, confirmation }: LiveRun): boolean {
  return (state === 'open' || state === 'refusing') && confirmation !== 'void';
}

function checkConnected(connection: LinkConnection | undefined): void {
  if (connection?.isOpen === true) return;
  throw new CscError('DRAINING', 'the link broke before anything had started');
}

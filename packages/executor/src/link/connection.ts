import { CscError } from '@csc-fleet/common/errors';
import {
  type Confirm,
  type ConnectResponse,
  type Duration,
  type Hello,
  type Offer,
  type TerminalInput,
  type TerminalTaken,
  toMilliseconds,
  type Welcome,
} from '@csc-fleet/common/messages';
import { offerLimits } from '../admission/offer.ts';
import type { Outbox, Send } from './outbox.ts';

/** One connection to the gate, from the executor's side. */
export interface LinkConnection {
  readonly isOpen: boolean;
  /** Whether the gate wants it to start nothing more; that ends with the connection. */
  readonly isDraining: boolean;
  receive(message: ConnectResponse): void;
  /** `send` takes more, after it has given false. */
  drained(): void;
  /** The connection is gone: nothing more is sent over it. */
  closed(): void;
  /** Something was signed: how far the chain goes is said soon, and not only with the next heartbeat that is due. */
  signed(): void;
  /** Ends it. The next one begins with another Hello. */
  hangUp(why: string): void;
}

/** What the executor needs of a transport. */
export interface Wire {
  readonly send: Send;
  /** Ends the connection; the error says why. */
  readonly hangUp: (error: CscError) => void;
}

/** What the gate can ask for over the link. */
export interface LinkHandlers {
  /**
   * The gate is there and has heard our Hello.
   * @param chainHeadJson the newest head of our chain that it knows, where it takes ours for an older one; else empty
   */
  welcomed(chainHeadJson: Uint8Array): void;
  /** The gate has said what time it is there. */
  heardTime(gatesNow: Date): void;
  /** By this host's clock. */
  now(): Date;
  offered(offer: Offer): void;
  /** What has become of an offer that it had a number of. */
  confirmed(confirm: Confirm): void;
  /** The connection is gone: what it has not confirmed never was. */
  gone(): void;
  cancelled(executionId: string, graceMs: number): void;
  /** What has not been redeemed yet is not to be. */
  withdrawn(executionId: string): void;
  acknowledged(executionId: string): void;
  /** Something is typed, or the gate asks how far that has come. Does not reject. */
  typed(input: TerminalInput): Promise<TerminalTaken>;
  /** The gate has heard something new of the owners: it may be so. */
  policyChanged(): void;
  /** Executions under way, for the heartbeat. */
  running(): number;
  /** Runs that would have been refused, were that not only tried out. */
  wouldRefuse(): number;
  /** Why nothing is taken for want of room on the disk; empty where there is room. */
  shortage(): string;
  /** How far the chain of receipts goes, signed; empty where that was said already. */
  chainHead(): Buffer;
}

// Each costs this host a signature and the gate a commit. One that runs job after job says one a second; the last of them is
// said as soon as nothing more is signed for a tenth of that.
const betweenHeadsMs = 1000;
const quietMs = 100;
// As far as a gate's config goes, and shorter for tests.
const heartbeatBounds = { least: 100, most: 300_000, otherwise: 10_000 };
/** What a job gets between SIGTERM and SIGKILL. */
const graceBounds = { least: 0, most: 60_000, otherwise: 5_000 };

/** Says Hello and handles what comes back. What must not be lost waits in the outbox until the gate's Welcome. */
export function openConnection(
  hello: Hello,
  wire: Wire,
  outbox: Outbox,
  handlers: LinkHandlers,
): LinkConnection {
  const connection = new Connection(wire, outbox, handlers);
  connection.begin(hello);
  return connection;
}

type FromGate = NonNullable<ConnectResponse['message']>;

class Connection implements LinkConnection {
  readonly #wire: Wire;
  readonly #outbox: Outbox;
  readonly #handlers: LinkHandlers;
  #heartbeat: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #saidAt = Number.NEGATIVE_INFINITY;
  isOpen = true;
  isDraining = false;

  constructor(wire: Wire, outbox: Outbox, handlers: LinkHandlers) {
    this.#wire = wire;
    this.#outbox = outbox;
    this.#handlers = handlers;
  }

  begin(hello: Hello): void {
    this.#outbox.begin(() => this.hangUp('the gate does not read what it is told'));
    this.#wire.send({ message: { $case: 'hello', value: hello } });
  }

  receive({ message }: ConnectResponse): void {
    if (this.isOpen && message !== undefined) this.#dispatch(message);
  }

  drained(): void {
    if (this.isOpen) this.#outbox.drained();
  }

  closed(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    clearInterval(this.#heartbeat);
    clearTimeout(this.#soon);
    this.#outbox.close();
    this.#handlers.gone();
  }

  #dispatch(message: FromGate): void {
    const { acknowledged, cancelled, withdrawn } = this.#handlers;
    if (message.$case === 'welcome') this.#welcome(message.value);
    if (message.$case === 'offer') this.#offer(message.value);
    if (message.$case === 'confirm') this.#handlers.confirmed(message.value);
    if (message.$case === 'cancel') {
      cancelled(message.value.executionId, boundedMs(message.value.gracePeriod, graceBounds));
    }
    if (message.$case === 'withdraw') withdrawn(message.value.executionId);
    if (message.$case === 'terminalInput') void this.#typed(message.value);
    if (message.$case === 'receiptAck') acknowledged(message.value.executionId);
    if (message.$case === 'policyChanged') this.#handlers.policyChanged();
    if (message.$case === 'drain') this.isDraining = true;
  }

  // Now or not at all: whoever has no answer asks again.
  async #typed(input: TerminalInput): Promise<void> {
    if (input.executionId.length > offerLimits.idLength) return;
    const taken = await this.#handlers.typed(input);
    if (this.isOpen && this.#outbox.hasRoom) this.#outbox.post({ $case: 'terminalTaken', value: taken });
  }

  // Everything that is owed is told after it, so that a gate must not be able to ask for that as often as it likes.
  #welcome({ heartbeatInterval: interval, chainHeadJson, sentAt }: Welcome): void {
    if (this.#heartbeat !== undefined) {
      this.hangUp('the gate said Welcome a second time');
      return;
    }
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs(interval)).unref();
    this.#outbox.open(this.#wire.send);
    this.#handlers.welcomed(chainHeadJson);
    if (sentAt !== undefined) this.#handlers.heardTime(sentAt);
  }

  // A gate that knows only what an old heartbeat said does not see it where this disk is set back to between the two.
  signed(): void {
    if (!this.isOpen || this.#heartbeat === undefined) return;
    clearTimeout(this.#soon);
    const restMs = this.#saidAt + betweenHeadsMs - performance.now();
    this.#soon = setTimeout(
      () => {
        this.#saidAt = performance.now();
        this.#beat();
      },
      Math.max(0, Math.min(restMs, quietMs)),
    ).unref();
  }

  // Now or not at all: what it says counts as said.
  #beat(): void {
    if (!this.#outbox.hasRoom) return;
    const { running, chainHead, wouldRefuse, shortage, now } = this.#handlers;
    const said = { running: running(), chainHeadJson: chainHead(), wouldRefuse: wouldRefuse() };
    this.#outbox.post({ $case: 'heartbeat', value: { ...said, sentAt: now(), shortage: shortage() } });
  }

  // The answer would have to say the id again.
  #offer(offer: Offer): void {
    const { length } = offer.executionId;
    if (length <= offerLimits.idLength) this.#handlers.offered(offer);
    else this.hangUp(`an execution id has at most ${offerLimits.idLength} characters here, not ${length}`);
  }

  hangUp(why: string): void {
    if (!this.isOpen) return;
    this.closed();
    this.#wire.hangUp(new CscError('GATE_UNREACHABLE', `this host ended the connection: ${why}`));
  }
}

/** How often a heartbeat is due. */
export function heartbeatMs(interval: Duration | undefined): number {
  return boundedMs(interval, heartbeatBounds);
}

/** In milliseconds. */
interface Bounds {
  readonly least: number;
  readonly most: number;
  /** Where the gate says nothing. */
  readonly otherwise: number;
}

/**
 * A time that the gate chooses, held within bounds of this host's: a timer of Node's that is set to less than nothing, to
 * NaN or to more than 2³¹ − 1 ms fires at once.
 */
function boundedMs(duration: Duration | undefined, { least, most, otherwise }: Bounds): number {
  if (duration === undefined) return otherwise;
  const wanted = toMilliseconds(duration);
  return Number.isNaN(wanted) ? otherwise : Math.min(Math.max(wanted, least), most);
}

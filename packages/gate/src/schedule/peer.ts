import type { Identity } from '@csc-fleet/common/identity';
import type { ConnectResponse, Hello, Offer, PolicyVersion, Validity } from '@csc-fleet/common/messages';
import { hasLabels, type NamedKey } from '@csc-fleet/common/owners';
import { Skew } from './skew.ts';

/** How a peer is reached. */
export interface PeerWay {
  readonly send: (message: ConnectResponse) => void;
  readonly ask: () => void;
}

/** Ids of executions; told of each that leaves. */
class Taken extends Set<string> {
  readonly #onLess: () => void;

  constructor(onLess: () => void) {
    super();
    this.#onLess = onLess;
  }

  override delete(executionId: string): boolean {
    const was = super.delete(executionId);
    if (was) this.#onLess();
    return was;
  }
}

/** An executor that is connected, as placement sees it. */
export class Peer {
  /** Its whole SPIFFE id: what it is known by wherever it is compared or stored. */
  readonly id: string;
  /** The NAME in it: for people, and what tickets and receipts call it, as it does itself. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly executionMode: string;
  /** What it says of the key that signs its receipts. */
  readonly receiptKey: NamedKey;
  /** Of its journal: its tickets name it. Empty: it is older than that. */
  readonly epoch: string;
  /** Executions offered to it or running on it. */
  readonly assigned: Set<string> = new Taken(() => this.#onFreer());
  readonly version: string;
  /** What its sandbox can do, as it says for people. */
  readonly sandbox: readonly string[];
  readonly #policies: ReadonlySet<string>;
  /** Hashes by name. Empty, of one that does not tell names. */
  readonly #versions: ReadonlyMap<string, string>;
  readonly #way: PeerWay;
  /** Whether it can be offered what is yet to be written down: it does nothing of it before it is confirmed. */
  readonly confirms: boolean;
  /** Whether it knows submissions that are signed with the key of a token. */
  readonly takesTokens: boolean;
  /** Of executions that are being written down, the numbers of the offers of them that it has already. Undefined: none yet. */
  #ahead: Map<string, number> | undefined;
  #offers = 0;
  /** Offers that it has left without an answer for too long: it gets no others before it gives one. */
  readonly unanswered: Set<string> = new Taken(() => this.#onFreer());
  /** When anything came from it last, by the gate's clock. */
  seenAt: Date = new Date(0);
  /** When the certificate counts that it came with. Undefined: it came without one, in the gate's own process. */
  certificate: Validity | undefined;
  /** When it was last heard, with all that it had said before being taken; milliseconds of the monotonic clock. */
  heardAt = 0;
  /** It is stopping, and takes nothing more over this connection. */
  draining = false;
  /** Until when it may be about to say Hello once more, with other policies; milliseconds of the monotonic clock. */
  renewsUntil = 0;
  /** Its chain has gone back: it would run again what it has forgotten. */
  wentBack = false;
  /** Runs since its start that it would have refused, were that not only tried out (enforce: warn). */
  wouldRefuse = 0;
  /** Of its clock; see `heardTime`. */
  readonly skew = new Skew();
  #shortage = '';
  #paused = false;
  #onFreer: () => void = () => undefined;

  constructor({ uri, name }: Identity, hello: Hello, way: PeerWay) {
    this.id = uri;
    this.name = name;
    this.labels = hello.labels;
    this.slots = Math.max(0, hello.slots);
    this.executionMode = hello.executionMode;
    // A copy: that of the message lies in a piece of memory with others, and would keep all of it.
    this.receiptKey = { keyId: hello.receiptKeyId, publicKey: new Uint8Array(hello.receiptPublicKey) };
    this.epoch = hello.epoch;
    this.confirms = hello.confirms ?? false;
    this.takesTokens = hello.takesTokens ?? false;
    this.version = hello.version;
    this.sandbox = hello.sandbox;
    this.#policies = new Set(hello.policySha256s);
    this.#versions = new Map(hello.policies.map(({ name, sha256 }) => [name, sha256]));
    this.#way = way;
  }

  /** @param onFreer is told whenever it may take more than before: what makes it so goes through this class */
  watch(onFreer: () => void): void {
    this.#onFreer = onFreer;
  }

  /** Why its disk has no room for a run, as it says for people; empty where it has. */
  get shortage(): string {
    return this.#shortage;
  }

  set shortage(why: string) {
    if (why === this.#shortage) return;
    this.#shortage = why;
    this.#onFreer();
  }

  /** Is left alone for a while, over whichever connection: see Rests. */
  get paused(): boolean {
    return this.#paused;
  }

  set paused(is: boolean) {
    this.#paused = is;
    this.#onFreer();
  }

  /** What it says of its time has come. */
  heardTime(sentAt: Date | undefined, receivedAt: Date): void {
    this.skew.heard(sentAt, receivedAt);
    this.#onFreer();
  }

  /** Takes nothing now. */
  get resting(): boolean {
    return this.draining || this.paused || this.wentBack || this.skew.isTooFar || this.shortage !== '';
  }

  get free(): number {
    return this.resting || this.unanswered.size > 0 ? 0 : this.slots - this.assigned.size;
  }

  /** True where it has every label asked for and holds the policy. */
  fits(selector: Readonly<Record<string, string>>, policySha256: string): boolean {
    return this.#policies.has(policySha256) && this.hasLabels(selector);
  }

  /** What it holds, by hash, with the names that it has told. */
  get policies(): PolicyVersion[] {
    const names = new Map([...this.#versions].map(([name, sha256]) => [sha256, name]));
    return [...this.#policies].map((sha256) => ({ name: names.get(sha256) ?? '', sha256 }));
  }

  /** Why it takes nothing now, for people; empty where it does. */
  get restingBecause(): string {
    if (this.wentBack) return 'its chain of receipts has gone back: see the log of the gate';
    if (this.skew.isTooFar) return `its clock is ${this.skew} this gate’s: set it right`;
    if (this.draining) return 'it is stopping';
    if (this.shortage !== '') return this.shortage;
    if (this.unanswered.size > 0) return 'it does not answer its offers';
    return this.paused ? 'it has lost or refused offers, and rests for a while' : '';
  }

  /** The hash of another version that it holds of a policy; undefined where it holds none of that name, or that one. */
  otherVersion(name: string, sha256: string): string | undefined {
    const held = this.#versions.get(name);
    return held === sha256 ? undefined : held;
  }

  hasLabels(selector: Readonly<Record<string, string>>): boolean {
    return hasLabels(this.labels, selector);
  }

  send(message: NonNullable<ConnectResponse['message']>): void {
    this.#way.send({ message });
  }

  /** Sends an offer that is yet to be written down; `confirm` must follow. */
  offerAhead(offer: Offer): void {
    this.#offers += 1;
    this.#ahead ??= new Map();
    this.#ahead.set(offer.executionId, this.#offers);
    this.send({ $case: 'offer', value: { ...offer, number: this.#offers } });
  }

  /** Says of an offer that was sent ahead whether it is written down. False where none was: nothing is sent. */
  confirm(executionId: string, is: 'written' | 'void'): boolean {
    const number = this.#ahead?.get(executionId);
    if (number === undefined) return false;
    this.#ahead?.delete(executionId);
    this.send({ $case: 'confirm', value: { number, void: is === 'void' } });
    return true;
  }

  /** Has it heard, where the transport can, and sets `heardAt` when that has worked. */
  ask(): void {
    this.#way.ask();
  }
}

/** One of an executor's slots, taken for an execution. */
export interface Seat {
  readonly executionId: string;
  readonly peer: Peer;
}

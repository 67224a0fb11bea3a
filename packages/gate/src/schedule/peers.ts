import { quoteBriefly } from '@csc-fleet/common/errors';
import { type Identity, toIdentityUri } from '@csc-fleet/common/identity';
import type { ConnectResponse, Hello, Offer, PolicyVersion, Validity } from '@csc-fleet/common/messages';
import { describeRevocation, hasLabels, type NamedKey } from '@csc-fleet/common/owners';
import { type HeldSubmission, submissionOf } from '../execution/submission-of.ts';
import type { Owners } from '../owners/index.ts';
import type { NewExecution } from '../store/tables.ts';
import type { Breakers } from './breakers.ts';
import { Seats } from './seats.ts';
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

/** What an execution needs of its executor. */
export interface Requirement {
  /** Labels, all of them needed. */
  readonly selector: Readonly<Record<string, string>>;
  readonly policySha256: string;
  readonly policyProfile: string;
  readonly principal: string;
  /** The one executor that the submission names, its whole SPIFFE id. Absent: any. */
  readonly executorId?: string;
  /** Its submission is signed with the key of a token, which older hosts do not know. Absent: it is not. */
  readonly byToken?: boolean;
}

/** What the execution of a row needs. */
export function requirementOf(
  row: Pick<
    NewExecution,
    'selector_json' | 'policy_sha256' | 'policy_profile' | 'principal' | 'submission_json'
  >,
): Requirement {
  return {
    selector: JSON.parse(row.selector_json) as Record<string, string>,
    policySha256: row.policy_sha256,
    policyProfile: row.policy_profile,
    principal: row.principal,
    ...namedExecutor(submissionOf(row)),
    byToken: isByToken(submissionOf(row)),
  };
}

/** The one executor that a submission names, if it names one. */
export function namedExecutor(held: HeldSubmission | undefined): Pick<Requirement, 'executorId'> {
  const { trust_domain: domain, executor_id: name } = held?.submission.audience ?? {};
  if (domain === undefined || name === undefined) return {};
  return { executorId: toIdentityUri(domain, 'executor', name) };
}

/** True where hosts must take a token for it. */
export function isByToken(held: HeldSubmission | undefined): boolean {
  return held?.submission.token_sha256 !== undefined;
}

/** What the owners say of where something runs. */
export type PlacingOwners = Pick<Owners, 'mayRunOn' | 'revocationOn' | 'tellsHosts'>;

// For what a host fetches when it hears of something new, and its next Hello.
const renewalMs = 10_000;

const shownPeers = 8;

/** The executors that are connected now. */
export class Peers {
  readonly #peers = new Map<string, Peer>();
  readonly #seats: Seats<Peer>;
  /** Those that have gone, to say Hello once more. */
  readonly #renewing = new Map<string, Peer>();
  readonly #owners: PlacingOwners;
  readonly #breakers: Pick<Breakers, 'isOpen' | 'faultsOf'>;
  readonly #monotonicMs: () => number;

  constructor(
    owners: PlacingOwners,
    breakers: Pick<Breakers, 'isOpen' | 'faultsOf'>,
    monotonicMs: () => number,
  ) {
    this.#owners = owners;
    this.#breakers = breakers;
    this.#monotonicMs = monotonicMs;
    this.#seats = new Seats<Peer>((peer) => this.#peers.get(peer.id) === peer);
  }

  get(id: string): Peer | undefined {
    return this.#peers.get(id);
  }

  add(peer: Peer): void {
    const before = this.#peers.get(peer.id);
    if (before !== undefined) this.#seats.remove(before);
    this.#peers.set(peer.id, peer);
    this.#seats.add(peer);
    this.#renewing.delete(peer.id);
    // It asks for something new as soon as it is connected.
    if (this.#owners.tellsHosts()) this.#expectRenewal(peer);
  }

  /** Every executor was told that there is something new: what each holds will be another matter in a moment. */
  expectRenewals(): void {
    for (const peer of this.#peers.values()) this.#expectRenewal(peer);
  }

  #expectRenewal(peer: Peer): void {
    peer.renewsUntil = this.#monotonicMs() + renewalMs;
  }

  #isRenewing({ renewsUntil }: Peer): boolean {
    return renewsUntil > this.#monotonicMs();
  }

  #known(): Peer[] {
    return [...this.#peers.values(), ...[...this.#renewing.values()].filter((it) => this.#isRenewing(it))];
  }

  /** Also where it is about to tell what it holds: what is submitted meanwhile waits, and is not turned away. */
  #fitsSoon(peer: Peer, { selector, policySha256 }: Requirement): boolean {
    return this.#isRenewing(peer) ? peer.hasLabels(selector) : peer.fits(selector, policySha256);
  }

  /** Forgets the peer unless another connection of the same executor has taken its place. */
  remove(peer: Peer): void {
    if (this.#peers.get(peer.id) !== peer) return;
    this.#peers.delete(peer.id);
    this.#seats.remove(peer);
    if (this.#isRenewing(peer)) this.#renewing.set(peer.id, peer);
  }

  all(): IterableIterator<Peer> {
    return this.#peers.values();
  }

  /**
   * Of the fitting ones with a free slot that are not passed over for a fault, one with the fewest executions; undefined
   * where all are busy.
   */
  choose(requirement: Requirement): Peer | undefined {
    const { principal, executorId } = requirement;
    const isFor = (peer: Peer): boolean =>
      !this.#breakers.isOpen(peer.id, principal) && this.#mayRunOn(peer, requirement);
    if (executorId === undefined) return this.#seats.least(requirement, this.#peers.values(), isFor);
    const named = this.#peers.get(executorId);
    const mayTake = named !== undefined && named.free > 0 && this.#fits(named, requirement);
    return mayTake && isFor(named) ? named : undefined;
  }

  /** False where nobody has a free slot. */
  hasFree(): boolean {
    return this.#seats.hasFree();
  }

  /** Looks at all of them anew when something is placed next. */
  recount(): void {
    this.#seats.recount();
  }

  #fits(peer: Peer, { selector, policySha256 }: Requirement): boolean {
    return peer.fits(selector, policySha256);
  }

  #mayRunOn(peer: Peer, { policyProfile: profile, principal, byToken }: Requirement): boolean {
    // It would refuse it, and its submission would be used up.
    if (byToken === true && !peer.takesTokens) return false;
    return this.#owners.mayRunOn(peer, { principal, profile });
  }

  /** The connected executors that could run it, busy ones too. */
  matching(requirement: Requirement): readonly Peer[] {
    return this.#known().filter(
      (peer) =>
        !peer.resting &&
        isNamed(peer, requirement) &&
        this.#fitsSoon(peer, requirement) &&
        this.#mayRunOn(peer, requirement),
    );
  }

  #hasMatching(requirement: Requirement): boolean {
    const { executorId } = requirement;
    if (executorId === undefined)
      for (const peer of this.#seats.fitting(requirement, this.#peers.values()))
        if (!peer.resting && this.#mayRunOn(peer, requirement)) return true;
    return this.matching(requirement).length > 0;
  }

  /** True where another than these could run it, now or when it has slots, a rest or a restart behind it. */
  hasOther(requirement: Requirement, than: ReadonlySet<string>): boolean {
    return this.#known().some(
      (peer) =>
        !than.has(peer.id) &&
        !peer.wentBack &&
        isNamed(peer, requirement) &&
        this.#fitsSoon(peer, requirement) &&
        this.#mayRunOn(peer, requirement),
    );
  }

  /** Why those that could run it are passed over, if they all are. */
  whyPassedOver(requirement: Requirement): string | undefined {
    const why = this.matching(requirement).map(({ id, name }) => {
      const fault = this.#breakers.faultsOf(id).find(({ principal }) => principal === requirement.principal);
      return fault === undefined ? undefined : `${name} had to refuse what was yours: ${fault.why}`;
    });
    return why.length === 0 || why.includes(undefined) ? undefined : why.slice(0, shownPeers).join('; ');
  }

  /**
   * Why no connected executor could run it, with what there is instead; undefined where one could. Of the executors, it
   * names those alone on which its principal may run something: of the others, a submitter learns nothing.
   */
  whyNone(requirement: Requirement): string | undefined {
    if (this.#hasMatching(requirement)) return undefined;
    if (this.#known().length === 0) return 'no executor is connected';
    const { selector, principal, policyProfile } = requirement;
    const revoked = this.#revoked(requirement);
    if (revoked.length > 0) {
      const whose =
        requirement.executorId === undefined
          ? 'of those that could run it is left'
          : 'that the submission names is left';
      return `no connected executor ${whose}: ${revoked.slice(0, shownPeers).join('; ')}`;
    }
    const isBarred = this.#known().some(
      (peer) => !peer.resting && isNamed(peer, requirement) && this.#fitsSoon(peer, requirement),
    );
    const wanted = formatLabels(selector);
    const labels = wanted === '' ? '' : ` with the labels ${wanted}`;
    const named =
      requirement.executorId === undefined ? '' : ` ${requirement.executorId}, which the submission names,`;
    const missing = isBarred
      ? `is one where the owners let ${principal} run something under ${quoteBriefly(policyProfile)} (bindings, hosts.yaml)${requirement.byToken === true ? ' and that takes tokens (an older csc executor does not)' : ''}`
      : this.#missingPolicy(requirement);
    return `no connected executor${named}${labels} ${missing}${this.#describe(requirement)}`;
  }

  // Of those that nothing else keeps from it: it is to read why, and nothing of hosts that were never for it.
  #revoked(requirement: Requirement): string[] {
    const { policyProfile: profile, principal } = requirement;
    return this.#known().flatMap((peer) => {
      if (!isNamed(peer, requirement) || !this.#fitsSoon(peer, requirement)) return [];
      const revocation = this.#owners.revocationOn(peer, { principal, profile });
      return revocation === undefined ? [] : [describeRevocation(revocation)];
    });
  }

  // Two versions of one name are easily taken for one: both are told by their hashes.
  #missingPolicy(requirement: Requirement): string {
    const { policyProfile: name, policySha256: sha256 } = requirement;
    const others = [...this.#peers.values()].flatMap((peer) => {
      const held =
        isNamed(peer, requirement) && peer.hasLabels(requirement.selector)
          ? peer.otherVersion(name, sha256)
          : undefined;
      return held !== undefined && this.#mayRunOn(peer, requirement) ? [`${peer.name} has ${held}`] : [];
    });
    if (others.length === 0) return `takes what is run under the policy ${quoteBriefly(name)}`;
    const versions = others.slice(0, shownPeers).join(', ');
    return `holds the version of the policy ${quoteBriefly(name)} that this gate decides by, ${sha256} (${versions}): give gate and hosts the same one`;
  }

  #describe(requirement: Requirement): string {
    const shown = [...this.#peers.values()].filter((peer) => this.#mayRunOn(peer, requirement));
    if (shown.length === 0) return '';
    const more = shown.length > shownPeers ? `, and ${shown.length - shownPeers} more` : '';
    return `; connected: ${shown.slice(0, shownPeers).map(describePeer).join(', ')}${more}`;
  }
}

function isNamed({ id }: Peer, { executorId }: Requirement): boolean {
  return executorId === undefined || executorId === id;
}

function describePeer(peer: Peer): string {
  const labels = formatLabels(peer.labels);
  const resting = peer.restingBecause;
  return `${peer.name}${labels === '' ? '' : ` (${labels})`}${resting === '' ? '' : ` – ${resting}`}`;
}

function formatLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${quoteBriefly(name).slice(1, -1)}=${quoteBriefly(value).slice(1, -1)}`)
    .join(', ');
}

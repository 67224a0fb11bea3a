import { quoteBriefly } from '@csc-fleet/common/errors';
import { describeRevocation } from '@csc-fleet/common/owners';
import type { Owners } from '../owners/index.ts';
import type { Breakers } from './breakers.ts';
import type { Peer } from './peer.ts';
import type { Requirement } from './requirement.ts';
import { Seats } from './seats.ts';

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

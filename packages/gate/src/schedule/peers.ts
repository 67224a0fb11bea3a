import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import type { Peer } from './peer.ts';

/** What an execution needs of its executor. */
export interface Requirement {
  /** Labels, all of them needed. */
  readonly selector: Readonly<Record<string, string>>;
  readonly policySha256: string;
  readonly policyProfile: string;
}

const shownPeers = 8;

/** The executors that are connected now. */
export class Peers {
  readonly #peers = new Map<string, Peer>();

  get(id: string): Peer | undefined {
    return this.#peers.get(id);
  }

  add(peer: Peer): void {
    this.#peers.set(peer.id, peer);
  }

  /** Forgets the peer unless another connection of the same executor has taken its place. */
  remove(peer: Peer): void {
    if (this.#peers.get(peer.id) === peer) this.#peers.delete(peer.id);
  }

  all(): IterableIterator<Peer> {
    return this.#peers.values();
  }

  /** Of the fitting ones with a free slot, one with the fewest executions; undefined where all are busy. */
  choose({ selector, policySha256 }: Requirement): Peer | undefined {
    let best: Peer | undefined;
    for (const peer of this.#peers.values()) {
      if (peer.free <= 0 || (best !== undefined && peer.assigned.size >= best.assigned.size)) continue;
      if (peer.fits(selector, policySha256)) best = peer;
    }
    return best;
  }

  /** Throws NO_MATCHING_EXECUTOR, with what there is instead, where no connected executor could ever run it. */
  checkMatch(requirement: Requirement): void {
    const { selector, policySha256, policyProfile } = requirement;
    for (const peer of this.#peers.values()) {
      if (!peer.resting && peer.fits(selector, policySha256)) return;
    }
    const wanted = formatLabels(selector);
    const labels = wanted === '' ? '' : ` with the labels ${wanted}`;
    const message = `no connected executor${labels} holds the policy ${quoteBriefly(policyProfile)}; ${this.#describe()}`;
    throw new CscError('NO_MATCHING_EXECUTOR', message, { retryAfterMs: 5_000 });
  }

  #describe(): string {
    if (this.#peers.size === 0) return 'none is connected';
    const peers = [...this.#peers.values()].slice(0, shownPeers).map(describePeer);
    const more = this.#peers.size > shownPeers ? `, and ${this.#peers.size - shownPeers} more` : '';
    return `connected: ${peers.join(', ')}${more}`;
  }
}

function describePeer(peer: Peer): string {
  const labels = formatLabels(peer.labels);
  return `${peer.name}${labels === '' ? '' : ` (${labels})`}${describeState(peer)}`;
}

function describeState({ resting, unanswered }: Peer): string {
  if (unanswered.size > 0) return ' (does not answer)';
  return resting ? ' (takes none now)' : '';
}

function formatLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${quoteBriefly(name).slice(1, -1)}=${quoteBriefly(value).slice(1, -1)}`)
    .join(', ');
}

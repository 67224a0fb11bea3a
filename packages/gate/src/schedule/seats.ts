import { canonicalJson } from '@csc-fleet/common/encoding';

/** What decides for good whether a peer fits: its labels and policies are those of its Hello. */
interface Needs {
  readonly selector: Readonly<Record<string, string>>;
  readonly policySha256: string;
}

/** An executor with slots. */
interface Seated {
  readonly free: number;
  readonly assigned: { readonly size: number };
  fits(selector: Needs['selector'], policySha256: string): boolean;
  /** @param onFreer is told whenever it may take more than before */
  watch(onFreer: () => void): void;
}

interface Entry<Peer> {
  readonly peer: Peer;
  /** As many as it had when this was written: it may have more by now, and never fewer. */
  readonly load: number;
  /** Of two with the same, the one that came first is first. */
  readonly order: number;
}

// Selectors are the submitters' to choose.
const mostGroups = 256;
const slack = 64;

/**
 * The seats of executors, so that placing looks at one or two of them and not at all: for each policy and selector asked for,
 * those that fit, the one with the fewest executions first. An executor that is freed says so; what else changes is found when
 * its turn comes.
 */
export class Seats<Peer extends Seated> {
  readonly #isCurrent: (peer: Peer) => boolean;
  readonly #groups = new Map<string, Group<Peer>>();
  readonly #orders = new WeakMap<Peer, number>();
  /** Those that had a free slot when they were last heard of. */
  readonly #free = new Set<Peer>();
  #next = 0;

  constructor(isCurrent: (peer: Peer) => boolean) {
    this.#isCurrent = isCurrent;
  }

  add(peer: Peer): void {
    this.#orders.set(peer, this.#next++);
    this.#free.add(peer);
    for (const group of this.#groups.values()) group.add(peer, this.#orderOf(peer));
    peer.watch(() => this.#freer(peer));
  }

  remove(peer: Peer): void {
    peer.watch(() => undefined);
    this.#free.delete(peer);
    for (const group of this.#groups.values()) group.remove(peer);
  }

  hasFree(): boolean {
    for (const peer of this.#free) {
      if (peer.free > 0 && this.#isCurrent(peer)) return true;
      this.#free.delete(peer);
    }
    return false;
  }

  /** Of those that fit, have a free slot and are wanted, one with the fewest executions. */
  least(needs: Needs, all: Iterable<Peer>, isWanted: (peer: Peer) => boolean): Peer | undefined {
    return this.#group(needs, all).least(isWanted);
  }

  /** Those that fit, busy ones too. */
  fitting(needs: Needs, all: Iterable<Peer>): Iterable<Peer> {
    return this.#group(needs, all).fitting;
  }

  recount(): void {
    this.#groups.clear();
  }

  #freer(peer: Peer): void {
    if (!this.#isCurrent(peer) || peer.free <= 0) return;
    this.#free.add(peer);
    for (const group of this.#groups.values()) group.freer(peer, this.#orderOf(peer));
  }

  #orderOf(peer: Peer): number {
    return this.#orders.get(peer) ?? 0;
  }

  #group({ selector, policySha256 }: Needs, all: Iterable<Peer>): Group<Peer> {
    const key = canonicalJson({ selector: { ...selector }, policySha256 });
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    if (this.#groups.size >= mostGroups) this.#groups.clear();
    const group = new Group<Peer>({ selector, policySha256 }, this.#isCurrent);
    for (const peer of all) group.add(peer, this.#orderOf(peer));
    this.#groups.set(key, group);
    return group;
  }
}

/** Those that fit one policy and selector: a binary heap, in which a peer has one entry that counts. */
class Group<Peer extends Seated> {
  readonly fitting = new Set<Peer>();
  readonly #needs: Needs;
  readonly #isCurrent: (peer: Peer) => boolean;
  readonly #entries = new Map<Peer, Entry<Peer>>();
  #heap: Entry<Peer>[] = [];

  constructor(needs: Needs, isCurrent: (peer: Peer) => boolean) {
    this.#needs = needs;
    this.#isCurrent = isCurrent;
  }

  add(peer: Peer, order: number): void {
    if (!peer.fits(this.#needs.selector, this.#needs.policySha256)) return;
    this.fitting.add(peer);
    this.freer(peer, order);
  }

  remove(peer: Peer): void {
    this.fitting.delete(peer);
    this.#entries.delete(peer);
  }

  freer(peer: Peer, order: number): void {
    const known = this.#entries.get(peer);
    if (!this.fitting.has(peer) || (known !== undefined && known.load <= peer.assigned.size)) return;
    this.#put({ peer, load: peer.assigned.size, order });
  }

  least(isWanted: (peer: Peer) => boolean): Peer | undefined {
    const passedOver: Entry<Peer>[] = [];
    const found = this.#next(isWanted, passedOver);
    for (const entry of passedOver) this.#put(entry);
    return found;
  }

  #next(isWanted: (peer: Peer) => boolean, passedOver: Entry<Peer>[]): Peer | undefined {
    for (let entry = this.#pop(); entry !== undefined; entry = this.#pop()) {
      const { peer, load, order } = entry;
      if (this.#entries.get(peer) !== entry) continue;
      this.#entries.delete(peer);
      // It is told of once it has one again.
      if (!this.#isCurrent(peer) || peer.free <= 0) continue;
      if (peer.assigned.size > load) {
        this.#put({ peer, load: peer.assigned.size, order });
        continue;
      }
      passedOver.push(entry);
      if (isWanted(peer)) return peer;
    }
    return undefined;
  }

  #put(entry: Entry<Peer>): void {
    this.#entries.set(entry.peer, entry);
    if (this.#heap.length > 2 * this.fitting.size + slack) this.#sweep();
    else this.#rise(this.#heap.push(entry) - 1);
  }

  // What counts no more would pile up below what does.
  #sweep(): void {
    this.#heap = [...this.#entries.values()].sort(compare);
  }

  #pop(): Entry<Peer> | undefined {
    const [first] = this.#heap;
    const last = this.#heap.pop();
    if (first === undefined || last === undefined || first === last) return first;
    this.#heap[0] = last;
    this.#sink(0);
    return first;
  }

  #rise(from: number): void {
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.#swapIfBefore(at, above)) return;
      at = above;
    }
  }

  #sink(from: number): void {
    let at = from;
    for (;;) {
      const left = 2 * at + 1;
      const [one, other] = [this.#heap[left], this.#heap[left + 1]];
      const least = one !== undefined && other !== undefined && compare(other, one) < 0 ? left + 1 : left;
      if (!this.#swapIfBefore(least, at)) return;
      at = least;
    }
  }

  #swapIfBefore(below: number, above: number): boolean {
    const [lower, upper] = [this.#heap[below], this.#heap[above]];
    if (lower === undefined || upper === undefined || compare(lower, upper) >= 0) return false;
    this.#heap[below] = upper;
    this.#heap[above] = lower;
    return true;
  }
}

function compare(one: Entry<unknown>, other: Entry<unknown>): number {
  return one.load - other.load || one.order - other.order;
}

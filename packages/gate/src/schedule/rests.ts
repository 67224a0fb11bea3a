import type { Peer } from './peer.ts';
import type { Peers } from './peers.ts';

const firstMs = 5_000;
const longestMs = 60_000;
// Executors of which it is known how often they have lost offers: more than a gate has at a time.
const maxKept = 4096;

/**
 * Milliseconds that a host is left alone after it has lost its offers that many times in a row: a connection may break
 * once, and then it gets them again at once.
 */
function restOf(losses: number): number {
  return losses < 2 ? 0 : Math.min(firstMs * 2 ** (losses - 2), longestMs);
}

interface Losses {
  losses: number;
  /** Milliseconds of the monotonic clock. */
  until: number;
}

/**
 * Who is offered nothing for a while. A new connection changes nothing of it: kept by executor, in memory, of those that
 * lost or refused something last. Who is forgotten begins anew, as after a restart of the gate.
 */
export class Rests {
  /** Those that were touched longest ago come first. */
  readonly #records = new Map<string, Losses>();
  readonly #counted = new WeakSet<Peer>();
  readonly #peers: Pick<Peers, 'get'>;
  readonly #monotonicMs: () => number;
  readonly #onRested: () => void;

  /** @param onRested when one may be offered something again */
  constructor(peers: Pick<Peers, 'get'>, monotonicMs: () => number, onRested: () => void) {
    this.#peers = peers;
    this.#monotonicMs = monotonicMs;
    this.#onRested = onRested;
  }

  /** It came back without having started what it was offered: it rests the longer the more often that happens. */
  add(executorId: string): void {
    const record = this.#record(executorId);
    record.losses += 1;
    this.take(executorId, restOf(record.losses));
  }

  /** It left before its offers could be sent; counted once a connection. */
  addOnce(peer: Peer): void {
    if (this.#counted.has(peer)) return;
    this.#counted.add(peer);
    this.add(peer.id);
  }

  /** It rests for at least so many milliseconds from now. */
  take(executorId: string, ms: number): void {
    if (ms === 0) return;
    const record = this.#record(executorId);
    record.until = Math.max(record.until, this.#monotonicMs() + ms);
    const peer = this.#peers.get(executorId);
    if (peer !== undefined) this.resume(peer);
  }

  /** A connection that is new: it rests for as long as its executor still has to. */
  resume(peer: Peer): void {
    const until = this.#records.get(peer.id)?.until ?? 0;
    const leftMs = until - this.#monotonicMs();
    if (leftMs <= 0) return;
    peer.paused = true;
    const wake = (): void => {
      // It may have been told to rest for longer meanwhile; one that is forgotten has rested.
      if ((this.#records.get(peer.id)?.until ?? 0) > until) return;
      peer.paused = false;
      this.#onRested();
    };
    setTimeout(wake, leftMs).unref();
  }

  /** It has brought the receipt of what it was given: how often it lost offers before is forgotten. */
  forget(executorId: string): void {
    const record = this.#records.get(executorId);
    if (record === undefined) return;
    record.losses = 0;
    if (record.until <= this.#monotonicMs()) this.#records.delete(executorId);
  }

  #record(executorId: string): Losses {
    const record = this.#records.get(executorId) ?? { losses: 0, until: 0 };
    this.#records.delete(executorId);
    this.#records.set(executorId, record);
    for (const oldest of this.#records.keys()) {
      if (this.#records.size <= maxKept) break;
      this.#records.delete(oldest);
    }
    return record;
  }
}

import { addressKey, TokenBucket } from '@csc-fleet/common/doorway';
import { CscError } from '@csc-fleet/common/errors';

/** Calls of one address, and of all: so many at once out of rest, and then so many a second. */
const rates = { address: { burst: 20, perSec: 2 }, all: { burst: 200, perSec: 50 } };
// Addresses that are remembered; whoever was away longest is forgotten first, and all count together anyway.
const most = 4096;

/** How often a CA is called. A guess at a token costs as much as a call. */
export class Allowance {
  readonly #now: () => number;
  readonly #all: TokenBucket;
  readonly #byAddress = new Map<string, TokenBucket>();

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
    this.#all = new TokenBucket(rates.all.perSec, rates.all.burst, now());
  }

  /**
   * Counts a call. Throws RATE_LIMITED.
   * @param peer `ADDRESS:PORT`
   */
  take(peer: string): void {
    const now = this.#now();
    const address = addressKey(peer.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1'));
    const own =
      this.#byAddress.get(address) ?? new TokenBucket(rates.address.perSec, rates.address.burst, now);
    this.#byAddress.delete(address);
    this.#byAddress.set(address, own);
    const [oldest] = this.#byAddress.keys();
    if (this.#byAddress.size > most && oldest !== undefined) this.#byAddress.delete(oldest);
    const waitMs = Math.max(own.waitMs(now), this.#all.waitMs(now));
    if (waitMs > 0) throw new CscError('RATE_LIMITED', 'too many calls to the CA', { retryAfterMs: waitMs });
    own.spend(1);
    this.#all.spend(1);
  }
}

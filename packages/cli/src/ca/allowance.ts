import { CscError } from '@csc-fleet/common/errors';

/** Calls of one address, and of all: so many at once out of rest, and then so many a second. */
const rates = { address: { burst: 20, perSec: 2 }, all: { burst: 200, perSec: 50 } };
// Addresses that are remembered; whoever was away longest is forgotten first, and all count together anyway.
const most = 4096;

interface Bucket {
  tokens: number;
  at: number;
}

/** How often a CA is called. A guess at a token costs as much as a call. */
export class Allowance {
  readonly #now: () => number;
  readonly #all: Bucket;
  readonly #byAddress = new Map<string, Bucket>();

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
    this.#all = { tokens: rates.all.burst, at: now() };
  }

  /** Counts a call. Throws RATE_LIMITED. */
  take(peer: string): void {
    const now = this.#now();
    const address = peer.replace(/:\d+$/, '');
    const own = this.#byAddress.get(address) ?? { tokens: rates.address.burst, at: now };
    this.#byAddress.delete(address);
    this.#byAddress.set(address, own);
    const [oldest] = this.#byAddress.keys();
    if (this.#byAddress.size > most && oldest !== undefined) this.#byAddress.delete(oldest);
    const waitMs = Math.max(wait(own, rates.address, now), wait(this.#all, rates.all, now));
    if (waitMs > 0) throw new CscError('RATE_LIMITED', 'too many calls to the CA', { retryAfterMs: waitMs });
    own.tokens -= 1;
    this.#all.tokens -= 1;
  }
}

function wait(bucket: Bucket, { burst, perSec }: { burst: number; perSec: number }, now: number): number {
  bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * perSec);
  bucket.at = now;
  return bucket.tokens >= 1 ? 0 : Math.ceil(((1 - bucket.tokens) / perSec) * 1000);
}

import { TokenBucket } from '@csc-fleet/common/doorway';
import { CscError } from '@csc-fleet/common/errors';
import type { Owners } from '../owners/index.ts';

interface Account {
  readonly perMin: number;
  readonly bucket: TokenBucket;
}

const maxAccounts = 10_000;

/** New executions a minute, of principals for which the owners' bindings limit them. */
export class SubmissionRates {
  readonly #owners: Pick<Owners, 'limitsOf'>;
  readonly #monotonicMs: () => number;
  readonly #accounts = new Map<string, Account>();

  /** @param monotonicMs milliseconds of a clock that never goes back */
  constructor(owners: Pick<Owners, 'limitsOf'>, monotonicMs: () => number) {
    this.#owners = owners;
    this.#monotonicMs = monotonicMs;
  }

  /** Counts one that is about to be recorded. Throws RATE_LIMITED, with when the next one may come. */
  take(principal: string): void {
    const { submissionsPerMin: perMin } = this.#owners.limitsOf(principal);
    if (perMin === Number.POSITIVE_INFINITY) return;
    const now = this.#monotonicMs();
    const { bucket } = this.#account(principal, perMin, now);
    if (bucket.take(now)) return;
    const message = `the owners let this identity submit ${perMin} executions a minute (limits.submissions_per_min in the bindings): wait`;
    throw new CscError('RATE_LIMITED', message, { retryAfterMs: bucket.waitMs(now) });
  }

  #account(principal: string, perMin: number, now: number): Account {
    const known = this.#accounts.get(principal);
    // The owners may have said something else since.
    if (known?.perMin === perMin) return known;
    if (this.#accounts.size >= maxAccounts) this.#forgetRested(now);
    const account = { perMin, bucket: new TokenBucket(perMin / 60, perMin, now) };
    this.#accounts.set(principal, account);
    return account;
  }

  // What is full again says nothing.
  #forgetRested(now: number): void {
    for (const [principal, { bucket }] of this.#accounts)
      if (bucket.rested(now)) this.#accounts.delete(principal);
  }
}

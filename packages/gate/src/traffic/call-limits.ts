import { CscError } from '@csc-fleet/common/errors';
import type { GateLimits } from '../service/config.ts';

interface Account {
  tokens: number;
  /** Milliseconds, of the monotonic clock. */
  at: number;
  open: number;
}

// Accounts that are full again and have no call open say nothing: forget them before they pile up.
const maxAccounts = 10_000;

/** Calls a second (a token bucket) and calls at once, for each principal. */
export class CallLimits {
  readonly #limits: Pick<GateLimits, 'requestsPerSec' | 'burst' | 'concurrentCalls'>;
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();

  /** @param now milliseconds of a clock that never goes back */
  constructor(
    limits: Pick<GateLimits, 'requestsPerSec' | 'burst' | 'concurrentCalls'>,
    now = () => performance.now(),
  ) {
    this.#limits = limits;
    this.#now = now;
  }

  /** Takes a call in; the answer must be called when it has ended. Throws RATE_LIMITED with when to come back. */
  enter(principal: string): () => void {
    const { requestsPerSec, concurrentCalls } = this.#limits;
    const account = this.#account(principal);
    if (account.open >= concurrentCalls) {
      throw limited(`${concurrentCalls} calls of this identity are open already: wait for one to end`, 1000);
    }
    if (account.tokens < 1) {
      const wait = Math.ceil(((1 - account.tokens) / requestsPerSec) * 1000);
      throw limited(`this identity makes more than ${requestsPerSec} calls a second`, wait);
    }
    account.tokens -= 1;
    account.open += 1;
    let left = false;
    return () => {
      if (!left) account.open -= 1;
      left = true;
    };
  }

  /** Takes more away for a call that has been let in: what comes next waits the longer for it. */
  spend(principal: string, calls: number): void {
    if (calls > 0) this.#account(principal).tokens -= calls;
  }

  #account(principal: string): Account {
    const { requestsPerSec, burst } = this.#limits;
    const now = this.#now();
    const known = this.#accounts.get(principal);
    if (known === undefined) {
      if (this.#accounts.size >= maxAccounts) this.#forgetIdle();
      const account = { tokens: burst, at: now, open: 0 };
      this.#accounts.set(principal, account);
      return account;
    }
    known.tokens = Math.min(burst, known.tokens + ((now - known.at) / 1000) * requestsPerSec);
    known.at = now;
    return known;
  }

  #forgetIdle(): void {
    const { requestsPerSec, burst } = this.#limits;
    for (const [principal, { tokens, at, open }] of this.#accounts) {
      if (open === 0 && tokens + ((this.#now() - at) / 1000) * requestsPerSec >= burst)
        this.#accounts.delete(principal);
    }
  }
}

function limited(message: string, retryAfterMs: number): CscError {
  return new CscError('RATE_LIMITED', message, { retryAfterMs });
}

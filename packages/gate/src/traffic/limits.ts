import { type ConnectionLimits, TokenBucket } from '@csc-fleet/common/doorway';
import { CscError } from '@csc-fleet/common/errors';

/** How often, and how many at a time, one identity may call. */
export interface CallRate {
  /** Calls a second, over time. */
  readonly requestsPerSec: number;
  /** Calls at once out of rest. */
  readonly burst: number;
  /** Calls and streams open at a time. */
  readonly concurrentCalls: number;
}

/** What may be on its way to the gate: before it is known who sends it, by address; then by identity. */
export interface TrafficLimits {
  /** Of executors; those of clients stand beside this. */
  readonly executor: CallRate;
  /** Seconds in which a message must be whole, counted from where its call or its first byte came. */
  readonly messageTimeoutSec: number;
  /** Bytes that the messages of one identity may announce before they are whole. */
  readonly bytesInFlight: number;
  /** Bytes held of messages that are not whole yet, of all clients together; and again of all executors. */
  readonly totalBytesInFlight: number;
  readonly connections: ConnectionLimits & { readonly perIdentity: number };
}

interface Account {
  readonly rate: TokenBucket;
  open: number;
}

// Accounts that are full again and have no call open say nothing: forget them before they pile up.
const maxAccounts = 10_000;

/** Calls a second and calls at once, for each principal. */
export class CallLimits {
  readonly #limits: CallRate;
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();

  /** @param now milliseconds of a clock that never goes back */
  constructor(limits: CallRate, now = () => performance.now()) {
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
    const waitMs = account.rate.waitMs(this.#now());
    if (waitMs > 0) throw limited(`this identity makes more than ${requestsPerSec} calls a second`, waitMs);
    account.rate.spend(1);
    account.open += 1;
    let left = false;
    return () => {
      if (!left) account.open -= 1;
      left = true;
    };
  }

  /** Takes more away for a call that has been let in: what comes next waits the longer for it. */
  spend(principal: string, calls: number): void {
    if (calls <= 0) return;
    const { rate } = this.#account(principal);
    // What has come back since is counted first, as there is no more than a burst of it.
    rate.waitMs(this.#now());
    rate.spend(calls);
  }

  #account(principal: string): Account {
    const known = this.#accounts.get(principal);
    if (known !== undefined) return known;
    if (this.#accounts.size >= maxAccounts) this.#forgetIdle();
    const { requestsPerSec, burst } = this.#limits;
    const account = { rate: new TokenBucket(requestsPerSec, burst, this.#now()), open: 0 };
    this.#accounts.set(principal, account);
    return account;
  }

  #forgetIdle(): void {
    for (const [principal, { rate, open }] of this.#accounts) {
      if (open === 0 && rate.rested(this.#now())) this.#accounts.delete(principal);
    }
  }
}

function limited(message: string, retryAfterMs: number): CscError {
  return new CscError('RATE_LIMITED', message, { retryAfterMs });
}

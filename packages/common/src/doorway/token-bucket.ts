/** What may happen so often: `burst` at once out of rest, and then `perSec` a second. May be overdrawn. */
export class TokenBucket {
  readonly #perSec: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** @param now milliseconds of a clock that never goes back, as in every call */
  constructor(perSec: number, burst: number, now: number) {
    this.#perSec = perSec;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /** Milliseconds until there is one; 0 where there is one now. */
  waitMs(now: number): number {
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1000) * this.#perSec);
    this.#at = now;
    return this.#tokens >= 1 ? 0 : Math.ceil(((1 - this.#tokens) / this.#perSec) * 1000);
  }

  /** Takes some away, whether they are there or not: what comes later waits for it. */
  spend(tokens: number): void {
    this.#tokens -= tokens;
  }

  /** Takes one; false where there is none. */
  take(now: number): boolean {
    if (this.waitMs(now) > 0) return false;
    this.#tokens -= 1;
    return true;
  }

  /** True where it is full again, and so says nothing of the past. */
  rested(now: number): boolean {
    this.waitMs(now);
    return this.#tokens >= this.#burst;
  }
}

/** How long to wait before the next attempt. */
export interface Backoff {
  /** Milliseconds; grows with every call, with jitter, so that a fleet does not come back all at once. */
  next(): number;
  /** It worked: the next wait is a short one again. */
  reset(): void;
}

const firstMs = 250;
const longestMs = 10_000;

/** Exponential, between half and the whole of 250 ms, 500 ms, … 10 s. */
export function createBackoff(random: () => number = Math.random): Backoff {
  let ceiling = firstMs;
  return {
    next() {
      const wait = ceiling * (0.5 + random() / 2);
      ceiling = Math.min(2 * ceiling, longestMs);
      return wait;
    },
    reset() {
      ceiling = firstMs;
    },
  };
}

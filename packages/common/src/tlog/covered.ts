import { cosignatureToleranceMs } from './checkpoint.ts';

/**
 * When what a log covers had ended. Hosts say so, and one that lies, or whose clock is wrong, must not make void what witnesses
 * have cosigned for all others: a time that is yet to come counts for nothing, and of the newest of each host the middle one.
 */
export class CoveredTimes {
  readonly #untilMs: number;
  /** By executor, milliseconds since the epoch. */
  readonly #newest = new Map<string, number>();

  /** @param now when it is looked at */
  constructor(now: Date) {
    this.#untilMs = now.getTime() + cosignatureToleranceMs;
  }

  /** @param endedAt ISO 8601 */
  add(executor: string, endedAt: string): void {
    const ms = Date.parse(endedAt);
    if (ms <= this.#untilMs) this.#newest.set(executor, Math.max(this.#newest.get(executor) ?? 0, ms));
  }

  /** Milliseconds since the epoch; of two hosts the older. Undefined where nothing counts. */
  get newest(): number | undefined {
    const times = [...this.#newest.values()].sort((one, other) => one - other);
    return times[Math.ceil(times.length / 2) - 1];
  }
}

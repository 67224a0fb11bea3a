// More than any gate has a reason to have on its way to its disk at a time.
const mostAwaited = 10_000;
// Twice as long as any ticket is good for: what is not written down by then is of no use to anybody.
const mostAwaitedMs = 120_000;

type Confirmation = 'given' | 'void';

/** Offers that the gate is yet to write down, by the numbers that one connection has for them. */
export class AwaitedOffers {
  readonly #awaited = new Map<number, (confirmation: Confirmation) => void>();
  readonly #giveUp: () => void;

  /** @param giveUp ends the connection, and with it all that is awaited: there is too much of it, or for too long */
  constructor(giveUp: () => void) {
    this.#giveUp = giveUp;
  }

  /** @param settle told whether the gate has written it down */
  add(number: number, settle: (confirmation: Confirmation) => void): void {
    // Two that cannot be told apart: the first never was.
    this.settle(number, 'void');
    // Or a host that drains would wait for it for ever.
    const timer = setTimeout(() => this.#giveUp(), mostAwaitedMs).unref();
    this.#awaited.set(number, (confirmation) => {
      clearTimeout(timer);
      settle(confirmation);
    });
    if (this.#awaited.size > mostAwaited) this.#giveUp();
  }

  /** Does nothing where none of this number is awaited. */
  settle(number: number, confirmation: Confirmation): void {
    const settle = this.#awaited.get(number);
    this.#awaited.delete(number);
    settle?.(confirmation);
  }

  /** The connection is gone: none of them was written down, as far as anybody here will know. */
  settleAll(): void {
    for (const number of [...this.#awaited.keys()]) this.settle(number, 'void');
  }
}

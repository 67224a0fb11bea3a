/** A bell: whoever waits is woken by the next ring. A hint, not a message: look at the state after it. */
export class Signal {
  #waiting = new Set<() => void>();

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Resolves at the next ring, or at once where `abort` has fired or as soon as it does. */
  wait(abort?: AbortSignal): Promise<void> {
    if (abort?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        // What waits for days may be looked at by many meanwhile: who has gone is forgotten.
        this.#waiting.delete(done);
        abort?.removeEventListener('abort', done);
        resolve();
      };
      abort?.addEventListener('abort', done);
      this.#waiting.add(done);
    });
  }

  ring(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const wake of waiting) wake();
  }
}

const notFirst = 'another was first';

/**
 * Waits for whichever comes first and lets go of the others, which Promise.race alone does not do: a bell that seldom
 * rings would remember everybody who ever raced it.
 * @param waits each is given what tells it that another was first, and that nobody waits for it any more
 */
export async function firstToRing(
  ...waits: readonly ((abort: AbortSignal) => Promise<unknown>)[]
): Promise<void> {
  const over = new AbortController();
  try {
    await Promise.race(waits.map((wait) => wait(over.signal)));
  } finally {
    // Without a reason it would make an error with its stack, each time.
    over.abort(notFirst);
  }
}

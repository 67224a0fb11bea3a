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

/** A bell: whoever waits is woken by the next ring. A hint, not a message: look at the state after it. */
export class Signal {
  #waiting: (() => void)[] = [];

  /** Resolves at the next ring, or at once where `abort` has fired or as soon as it does. */
  wait(abort?: AbortSignal): Promise<void> {
    if (abort?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        abort?.removeEventListener('abort', done);
        resolve();
      };
      abort?.addEventListener('abort', done);
      this.#waiting.push(done);
    });
  }

  ring(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

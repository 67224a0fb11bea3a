/**
 * Brings together what is asked for in one tick, so that it shares a transaction and its fsync. Pieces keep their
 * order; one batch is committed at a time, and what comes meanwhile is the next.
 * @typeParam Piece is the database's own: it settles each, and lets none undo the others
 */
export class GroupCommit<Piece> {
  readonly #commit: (batch: readonly Piece[]) => void | Promise<void>;
  #waiting: Piece[] = [];
  #isDue = false;
  #flushing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param commit must settle each piece, with an error where it is not durable, and not throw */
  constructor(commit: (batch: readonly Piece[]) => void | Promise<void>) {
    this.#commit = commit;
  }

  /** @param withinMs how long it may wait for others to share its commit with. Default: 0, the end of this tick */
  add(piece: Piece, withinMs = 0): void {
    this.#waiting.push(piece);
    if (withinMs <= 0) void this.#begin();
    else this.#timer ??= setTimeout(() => void this.#begin(), withinMs).unref();
  }

  /** Resolves once nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#waiting.length > 0 || this.#flushing !== undefined) await this.#begin();
  }

  #begin(): Promise<void> {
    this.#isDue = true;
    this.#flushing ??= this.#flush();
    return this.#flushing;
  }

  async #flush(): Promise<void> {
    try {
      while (this.#isDue) {
        // What the same tick still brings belongs to the same batch.
        await new Promise((resolve) => setImmediate(resolve));
        this.#isDue = false;
        clearTimeout(this.#timer);
        this.#timer = undefined;
        const batch = this.#waiting;
        this.#waiting = [];
        await this.#commit(batch);
      }
    } finally {
      this.#flushing = undefined;
    }
  }
}

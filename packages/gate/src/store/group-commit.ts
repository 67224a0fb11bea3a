import { CscError } from '@csc-fleet/common/errors';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { Tables } from './tables.ts';

type Work = (transaction: Transaction<Tables>) => Promise<unknown>;

interface Waiting {
  readonly work: Work;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

interface Outcome {
  readonly value?: unknown;
  readonly error?: unknown;
}

/**
 * Runs what was asked for in one tick as one transaction: one fsync a batch, however many executions move. A piece of
 * work that fails is undone alone; the others are committed. Work runs in the order in which it was asked for.
 */
export class GroupCommit {
  readonly #database: Kysely<Tables>;
  readonly #onFailure: (error: CscError) => void;
  #waiting: Waiting[] = [];
  #flushing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param onFailure is told of every commit that failed: what is in memory may then be ahead of what is on disk */
  constructor(database: Kysely<Tables>, onFailure: (error: CscError) => void) {
    this.#database = database;
    this.#onFailure = onFailure;
  }

  /**
   * Resolves once the work is on disk. Rejects with its own error, or STORE_UNAVAILABLE where the commit failed.
   * @param withinMs how long it may wait for others to share its commit with. Default: 0, the end of this tick
   */
  run<T>(work: (transaction: Transaction<Tables>) => Promise<T>, withinMs = 0): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve: resolve as (value: unknown) => void, reject });
    });
    if (withinMs <= 0) void this.#begin();
    else this.#timer ??= setTimeout(() => void this.#begin(), withinMs);
    return promise;
  }

  #begin(): Promise<void> {
    this.#flushing ??= this.#flush();
    return this.#flushing;
  }

  /** Resolves once nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#waiting.length > 0 || this.#flushing !== undefined) await this.#begin();
  }

  async #flush(): Promise<void> {
    // What the same tick still brings belongs to the same batch.
    await new Promise((resolve) => setImmediate(resolve));
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      await this.#commit(batch);
    }
    this.#flushing = undefined;
  }

  async #commit(batch: readonly Waiting[]): Promise<void> {
    const outcomes: Outcome[] = [];
    try {
      await this.#database.transaction().execute(async (transaction) => {
        for (const { work } of batch) outcomes.push(await attempt(work, transaction));
      });
    } catch (cause) {
      const error = new CscError('STORE_UNAVAILABLE', 'the store does not take writes', {
        cause,
        retryAfterMs: 1000,
      });
      for (const { reject } of batch) reject(error);
      this.#onFailure(error);
      return;
    }
    for (const [index, { resolve, reject }] of batch.entries()) {
      const outcome = outcomes[index] ?? {};
      if ('error' in outcome) reject(outcome.error);
      else resolve(outcome.value);
    }
  }
}

async function attempt(work: Work, transaction: Transaction<Tables>): Promise<Outcome> {
  await sql`SAVEPOINT work`.execute(transaction);
  try {
    const value = await work(transaction);
    await sql`RELEASE work`.execute(transaction);
    return { value };
  } catch (error) {
    await sql`ROLLBACK TO work`.execute(transaction);
    await sql`RELEASE work`.execute(transaction);
    return { error };
  }
}

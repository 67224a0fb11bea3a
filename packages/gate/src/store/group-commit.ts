import { isCscError } from '@csc-fleet/common/errors';
import { type Kysely, sql } from 'kysely';
import { toStoreError } from './store-error.ts';
import type { Tables } from './tables.ts';

type Work = (transaction: Kysely<Tables>) => Promise<unknown>;

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
 * A commit that fails, as on a full disk, is undone, and each piece of it tried alone: what is small may still fit.
 */
export class GroupCommit {
  readonly #database: Kysely<Tables>;
  readonly #onOutcome: (error?: unknown) => void;
  #waiting: Waiting[] = [];
  #flushing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param onOutcome is told of every commit: of the error where it failed, of nothing where it is on disk */
  constructor(database: Kysely<Tables>, onOutcome: (error?: unknown) => void) {
    this.#database = database;
    this.#onOutcome = onOutcome;
  }

  /**
   * Resolves once the work is on disk. Rejects with its own error, or STORE_UNAVAILABLE where it is not on disk.
   * @param withinMs how long it may wait for others to share its commit with. Default: 0, the end of this tick
   */
  run<T>(work: (transaction: Kysely<Tables>) => Promise<T>, withinMs = 0): Promise<T> {
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
      await this.#transact(async (transaction) => {
        for (const { work } of batch) outcomes.push(await attempt(work, transaction));
      });
    } catch (cause) {
      await this.#failed(batch, cause);
      return;
    }
    this.#onOutcome();
    for (const [index, { resolve, reject }] of batch.entries()) {
      const outcome = outcomes[index] ?? {};
      if ('error' in outcome) reject(outcome.error);
      else resolve(outcome.value);
    }
  }

  async #failed(batch: readonly Waiting[], cause: unknown): Promise<void> {
    if (batch.length > 1) {
      for (const piece of batch) await this.#commit([piece]);
      return;
    }
    this.#onOutcome(cause);
    batch[0]?.reject(toStoreError(cause));
  }

  // Not Kysely's own transaction: a full disk makes SQLite roll back by itself, and Kysely's rollback then fails with
  // an error that hides why (https://www.sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction").
  async #transact(work: (transaction: Kysely<Tables>) => Promise<void>): Promise<void> {
    await this.#database.connection().execute(async (connection) => {
      await sql`BEGIN`.execute(connection);
      try {
        await work(connection);
        await sql`COMMIT`.execute(connection);
      } catch (error) {
        await sql`ROLLBACK`.execute(connection).catch(() => undefined);
        throw error;
      }
    });
  }
}

/** Throws where the transaction is lost with the work: an error that is not the work's own. */
async function attempt(work: Work, transaction: Kysely<Tables>): Promise<Outcome> {
  await sql`SAVEPOINT work`.execute(transaction);
  try {
    const value = await work(transaction);
    await sql`RELEASE work`.execute(transaction);
    return { value };
  } catch (error) {
    if (!isCscError(error) && toStoreError(error).retryAfterMs !== undefined) throw error;
    await sql`ROLLBACK TO work`.execute(transaction);
    await sql`RELEASE work`.execute(transaction);
    return { error };
  }
}

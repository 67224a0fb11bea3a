import { isCscError } from '@csc-fleet/common/errors';
import { GroupCommit } from '@csc-fleet/common/service';
import type { Kysely } from 'kysely';
import { around } from './hot-queries.ts';
import { toStoreError } from './store-error.ts';
import type { Tables } from './tables.ts';

interface Piece {
  /** Does the work; gives what tells its caller, to be called once the transaction is durable. Throws as the work does. */
  readonly perform: (transaction: Kysely<Tables>) => Promise<() => void>;
  readonly fail: (error: unknown) => void;
}

/**
 * Runs what was asked for in one tick as one transaction: one fsync a batch, however many executions move. A piece of
 * work that fails is undone alone; the others are committed. Work runs in the order in which it was asked for.
 * A commit that fails, as on a full disk, is undone, and each piece of it tried alone: what is small may still fit.
 */
export class StoreCommits {
  readonly #database: Kysely<Tables>;
  readonly #onOutcome: (error?: unknown) => void;
  readonly #commits = new GroupCommit<Piece>((batch) => this.#commit(batch));

  /** @param onOutcome is told of every commit: of the error where it failed, of nothing where it is on disk */
  constructor(database: Kysely<Tables>, onOutcome: (error?: unknown) => void) {
    this.#database = database;
    this.#onOutcome = onOutcome;
  }

  /**
   * Resolves once the work is on disk. Rejects with its own error, or STORE_UNAVAILABLE where it is not on disk.
   * @param withinMs as in GroupCommit
   */
  run<T>(work: (transaction: Kysely<Tables>) => Promise<T>, withinMs = 0): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const perform: Piece['perform'] = async (transaction) => {
        const value = await work(transaction);
        return () => resolve(value);
      };
      this.#commits.add({ perform, fail: reject }, withinMs);
    });
  }

  /** Resolves once nothing waits any more. */
  idle(): Promise<void> {
    return this.#commits.idle();
  }

  async #commit(batch: readonly Piece[]): Promise<void> {
    const settlements: (() => void)[] = [];
    try {
      await this.#transact(async (transaction) => {
        for (const piece of batch) settlements.push(await attempt(piece, transaction));
      });
    } catch (cause) {
      await this.#failed(batch, cause);
      return;
    }
    this.#onOutcome();
    for (const settle of settlements) settle();
  }

  async #failed(batch: readonly Piece[], cause: unknown): Promise<void> {
    if (batch.length > 1) {
      for (const piece of batch) await this.#commit([piece]);
      return;
    }
    this.#onOutcome(cause);
    batch[0]?.fail(toStoreError(cause));
  }

  // Not Kysely's own transaction: a full disk makes SQLite roll back by itself, and Kysely's rollback then fails with
  // an error that hides why (https://www.sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction").
  async #transact(work: (transaction: Kysely<Tables>) => Promise<void>): Promise<void> {
    await this.#database.connection().execute(async (connection) => {
      await connection.executeQuery(around.begin);
      try {
        await work(connection);
        await connection.executeQuery(around.commit);
      } catch (error) {
        await connection.executeQuery(around.rollBack).catch(() => undefined);
        throw error;
      }
    });
  }
}

/** Gives what settles the piece. Throws where the transaction is lost with the work: an error that is not the work's own. */
async function attempt({ perform, fail }: Piece, transaction: Kysely<Tables>): Promise<() => void> {
  await transaction.executeQuery(around.beginPiece);
  try {
    const settle = await perform(transaction);
    await transaction.executeQuery(around.endPiece);
    return settle;
  } catch (error) {
    if (!isCscError(error) && toStoreError(error).retryAfterMs !== undefined) throw error;
    await transaction.executeQuery(around.undoPiece);
    await transaction.executeQuery(around.endPiece);
    return () => fail(error);
  }
}

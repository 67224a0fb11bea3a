import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import type { CscError } from '../errors/index.ts';
import { GroupCommit } from './group-commit.ts';
import { errorCode, type WriteAheadLog } from './write-ahead-log.ts';

/** What is done for one caller. */
interface Piece {
  /** Does the work; gives what tells its caller, to be called once the transaction is durable. Throws as the work does. */
  readonly perform: () => () => void;
  readonly fail: (error: unknown) => void;
}

export interface CommitsOptions {
  /** What who waits is told where the whole of a transaction fails. */
  readonly toError: (cause: unknown) => CscError;
  /** Is told of every commit: of the error where it failed, of nothing where it is on disk. */
  readonly onOutcome?: (error?: unknown) => void;
  /**
   * Told once, where the disk has refused what was committed: nobody knows what it has of that, nothing more is written
   * or read, and the process must end.
   */
  readonly onLost: (error: CscError) => void;
  /** How long another process's transaction is waited for, in milliseconds. */
  readonly busyTimeoutMs: number;
  /**
   * Called after each COMMIT; what it gives is called once that is on disk. Where it throws, all is lost as with a disk
   * that refuses.
   */
  readonly onCommitted?: () => () => void;
}

// Primary result codes (https://www.sqlite.org/rescode.html) of which a transaction is lost whole: BUSY, NOMEM, READONLY, IOERR,
// FULL, CANTOPEN.
const lostWhole: ReadonlySet<number> = new Set([5, 6, 7, 8, 10, 13, 14]);
const busy = 5;
const busyPauseMs = 2;

/**
 * Runs what was asked for in one tick as one transaction, here, and has one `fdatasync` for all of it, elsewhere: what comes
 * meanwhile is the next transaction. Nobody is told of a piece of work before it is on disk. One that fails is undone alone;
 * the others are committed. Work runs in the order in which it was asked for. A commit that fails, as on a full disk, is undone,
 * and each piece of it tried alone: what is small may still fit.
 */
export class Commits {
  readonly #database: DatabaseSync;
  readonly #log: WriteAheadLog;
  readonly #options: CommitsOptions;
  readonly #around: Around;
  readonly #commits = new GroupCommit<Piece>((batch) => this.#commit(batch));
  #syncing: Promise<void> | undefined;
  #lost: CscError | undefined;

  constructor(database: DatabaseSync, log: WriteAheadLog, options: CommitsOptions) {
    this.#database = database;
    this.#log = log;
    this.#options = options;
    this.#around = prepareAround(database);
    // Whoever else writes is not waited for here, which would hold up all that this thread does.
    database.exec('PRAGMA busy_timeout=0');
  }

  /**
   * Resolves once the work is on disk. Rejects with what it throws, and as `toError` says where it is not done. Never
   * settles where it was committed and the disk has refused that (`onLost`): the next start of the process finds it, or
   * does not.
   * @param work is called within the transaction; again, where that is undone, so that only what it does there may last
   * @param withinMs as in GroupCommit
   */
  run<T>(work: () => T, withinMs = 0): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const perform: Piece['perform'] = () => {
        const value = work();
        return () => resolve(value);
      };
      this.#commits.add({ perform, fail: reject }, withinMs);
    });
  }

  /**
   * Undefined where all that a statement shows is on disk; else what resolves once it is. What was read must not be told before.
   * Rejects where it never will be.
   */
  get settled(): Promise<void> | undefined {
    return this.#syncing;
  }

  /** Resolves once nothing waits any more. */
  idle(): Promise<void> {
    return this.#commits.idle();
  }

  async #commit(batch: readonly Piece[]): Promise<void> {
    if (this.#lost !== undefined) {
      for (const piece of batch) piece.fail(this.#lost);
      return;
    }
    let settlements: readonly (() => void)[];
    try {
      settlements = (await this.#perform(batch)) ?? (await this.#performApart(batch));
    } catch (cause) {
      this.#rollBack();
      await this.#failed(batch, cause);
      return;
    }
    try {
      await this.#syncing;
    } catch {
      // It may be there after a restart: whoever was told that it is not would do it again elsewhere.
      return;
    }
    this.#syncing = undefined;
    this.#options.onOutcome?.();
    for (const settle of settlements) settle();
    this.#log.written();
  }

  // One step: whatever runs between the two would read what is not on disk, and find nothing to wait for. What is
  // committed is never done again, whatever fails after it.
  #endTransaction(): void {
    this.#around.commit.run();
    this.#syncing = this.#sync();
  }

  // It stays as it is where it rejects: whoever waits for it then, or later, is told the same.
  async #sync(): Promise<void> {
    try {
      const onDisk = this.#options.onCommitted?.();
      await this.#log.sync();
      onDisk?.();
    } catch (cause) {
      this.#lost = this.#options.toError(cause);
      this.#options.onLost(this.#lost);
      throw this.#lost;
    }
  }

  async #begin(): Promise<void> {
    const { begin } = this.#around;
    let until: number | undefined;
    for (;;) {
      // How long a checkpoint takes is not another process's time.
      await this.#log.held;
      try {
        begin.run();
        return;
      } catch (error) {
        until ??= performance.now() + this.#options.busyTimeoutMs;
        if (!isBusy(error) || performance.now() > until) throw error;
      }
      await delay(busyPauseMs);
    }
  }

  async #failed(batch: readonly Piece[], cause: unknown): Promise<void> {
    // Another process is not waited for again for each, whom the last would have to wait for as often.
    if (batch.length > 1 && !isBusy(cause)) {
      for (const piece of batch) await this.#commit([piece]);
      return;
    }
    this.#options.onOutcome?.(cause);
    for (const piece of batch) piece.fail(this.#options.toError(cause));
  }

  // A full disk makes SQLite roll back by itself (https://www.sqlite.org/lang_transaction.html, "Response To Errors Within A
  // Transaction").
  #rollBack(): void {
    try {
      if (this.#database.isTransaction) this.#around.rollBack.run();
    } catch {
      // The error that led here is the one to report.
    }
  }

  /**
   * Gives what settles the pieces. Undefined where one of them threw, as few do: all is undone. What undoes one alone, a
   * savepoint, has SQLite keep every page twice, and more than 64 KiB of them in a file of their own.
   */
  async #perform(batch: readonly Piece[]): Promise<(() => void)[] | undefined> {
    await this.#begin();
    try {
      const settlements = batch.map(({ perform }) => perform());
      this.#endTransaction();
      return settlements;
    } catch (error) {
      if (this.#isLostWhole(error)) throw error;
      this.#around.rollBack.run();
      return undefined;
    }
  }

  async #performApart(batch: readonly Piece[]): Promise<(() => void)[]> {
    await this.#begin();
    const settlements = batch.map((piece) => this.#attempt(piece));
    this.#endTransaction();
    return settlements;
  }

  /** Throws where the transaction is lost with the work: an error that is not the work's own. */
  #attempt({ perform, fail }: Piece): () => void {
    const { beginPiece, endPiece, undoPiece } = this.#around;
    beginPiece.run();
    try {
      const settle = perform();
      endPiece.run();
      return settle;
    } catch (error) {
      if (this.#isLostWhole(error)) throw error;
      undoPiece.run();
      endPiece.run();
      return () => fail(error);
    }
  }

  #isLostWhole(error: unknown): boolean {
    return lostWhole.has(errorCode(error) & 0xff) || !this.#database.isTransaction;
  }
}

function isBusy(error: unknown): boolean {
  return (errorCode(error) & 0xff) === busy;
}

/** What surrounds each piece of a transaction, and all of it. */
const texts = {
  begin: 'BEGIN IMMEDIATE',
  commit: 'COMMIT',
  rollBack: 'ROLLBACK',
  beginPiece: 'SAVEPOINT work',
  endPiece: 'RELEASE work',
  undoPiece: 'ROLLBACK TO work',
} as const;

type Around = { readonly [Name in keyof typeof texts]: StatementSync };

function prepareAround(database: DatabaseSync): Around {
  const prepared = Object.entries(texts).map(([name, text]) => [name, database.prepare(text)]);
  return Object.fromEntries(prepared) as Around;
}

import type { DatabaseSync } from 'node:sqlite';
import { CscError } from '@csc-fleet/common/errors';
import { GroupCommit } from '@csc-fleet/common/service';

/** Runs pieces of work, each all or nothing, in one transaction a tick. */
export interface JournalCommits {
  /**
   * Resolves with what `work` gave, once that is durable. Rejects with what it threw, or with STORE_UNAVAILABLE.
   * @param withinMs as in GroupCommit
   */
  run<T>(work: () => T, withinMs?: number): Promise<T>;
}

interface Item {
  /** Does the work; gives what tells its caller, to be called once the transaction is durable. */
  perform(): () => void;
  fail(error: unknown): void;
}

/** One queue for one database connection. Nothing else runs within a transaction, as none awaits anything. */
export function createJournalCommits(database: DatabaseSync): JournalCommits {
  const commits = new GroupCommit<Item>((items) => commit(database, items));
  return {
    run: <T>(work: () => T, withinMs = 0) =>
      new Promise<T>((resolve, reject) => {
        commits.add({ perform: () => performWork(work, resolve), fail: reject }, withinMs);
      }),
  };
}

function performWork<T>(work: () => T, resolve: (value: T) => void): () => void {
  const value = work();
  return () => resolve(value);
}

function commit(database: DatabaseSync, items: readonly Item[]): void {
  const settlements: (() => void)[] = [];
  try {
    database.exec('BEGIN IMMEDIATE');
    for (const item of items) settlements.push(performInSavepoint(database, item));
    database.exec('COMMIT');
  } catch (error) {
    rollBack(database);
    for (const item of items) item.fail(storeUnavailable(error));
    return;
  }
  for (const settle of settlements) settle();
}

// One caller's conflict must not undo the others' work.
function performInSavepoint(database: DatabaseSync, item: Item): () => void {
  database.exec('SAVEPOINT item');
  try {
    const settle = item.perform();
    database.exec('RELEASE item');
    return settle;
  } catch (error) {
    database.exec('ROLLBACK TO item; RELEASE item');
    return () => item.fail(isDatabaseError(error) ? storeUnavailable(error) : error);
  }
}

function rollBack(database: DatabaseSync): void {
  try {
    if (database.isTransaction) database.exec('ROLLBACK');
  } catch {
    // The error that led here is the one to report.
  }
}

function isDatabaseError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_SQLITE_ERROR';
}

/** What a database error becomes: nothing runs that cannot be journalled. */
export function storeUnavailable(cause: unknown): CscError {
  const why = isCannotOpen(cause)
    ? 'cannot be opened: look at its disk, and whether the executor has file descriptors left (LimitNOFILE)'
    : 'cannot be written: look at its disk';
  return new CscError('STORE_UNAVAILABLE', `this host's journal ${why}`, { cause });
}

// SQLITE_CANTOPEN (https://sqlite.org/rescode.html): EMFILE comes as this.
function isCannotOpen(error: unknown): boolean {
  return (
    isDatabaseError(error) &&
    error instanceof Error &&
    'errcode' in error &&
    (Number(error.errcode) & 0xff) === 14
  );
}

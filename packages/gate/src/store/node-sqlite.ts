import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import {
  checkBeginning,
  checkMeanwhile,
  type DatabaseFile,
  prepareDatabaseFile,
  whole,
} from '@csc-fleet/common/database';
import { CscError } from '@csc-fleet/common/errors';
import { SqliteAdapter, type SqliteDatabase, SqliteDialect, type SqliteStatement } from 'kysely';
import { whyRefused } from './store-error.ts';

const cachedStatements = 200;
// A gate that is being replaced may take a moment to end.
const lockTimeoutMs = 2_000;

/** Kysely takes SQLite for one that cannot undo half a migration, and would leave that behind where the gate is killed. */
export class TransactionalDialect extends SqliteDialect {
  override createAdapter(): SqliteAdapter {
    return new TransactionalAdapter();
  }
}

class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): true {
    return true;
  }
}

/** How a gate's database is restored. */
export const restoreGateCommand = 'csc restore gate --config FILE --from BACKUP';

/** node:sqlite in the form that Kysely's SQLite dialect drives. Statements are prepared once. */
export class NodeSqlite implements SqliteDatabase {
  readonly #database: DatabaseSync;
  readonly #lock: DatabaseSync;
  readonly #statements = new Map<string, SqliteStatement>();
  readonly #stopChecking: () => void = () => undefined;

  /**
   * Opens or creates the file; every commit is on disk before it returns (WAL, synchronous=FULL). No other gate opens it
   * until it is closed, as two on one store would both offer what is queued; it can be copied meanwhile. Throws
   * STORE_UNAVAILABLE where it is damaged, and what SQLite throws.
   * @param onDamaged where that is found later, of a database that is large
   */
  constructor(path: string, waitMs = lockTimeoutMs, onDamaged: (error: CscError) => void = () => undefined) {
    const file = { path, restore: restoreGateCommand };
    this.#lock = lock(path, waitMs);
    try {
      prepareDatabaseFile(file);
      const { database, isUnread } = openDatabase(file, waitMs);
      this.#database = database;
      if (isUnread) this.#stopChecking = checkMeanwhile(file, onDamaged);
    } catch (error) {
      this.#lock.close();
      throw error;
    }
  }

  prepare(sql: string): SqliteStatement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    // Statements with a variable number of parameters would otherwise pile up.
    if (this.#statements.size >= cachedStatements) this.#statements.clear();
    const statement = toKyselyStatement(this.#database.prepare(sql));
    this.#statements.set(sql, statement);
    return statement;
  }

  close(): void {
    this.#stopChecking();
    this.#statements.clear();
    this.#database.close();
    this.#lock.close();
  }
}

/** Behind the name of a store that was restored from a backup, until a gate has opened it. */
export const restoredMark = '.restored';

/** Keeps gates from opening a store until what it gives is called. Throws CONFIG_INVALID where one has it open. */
export function lockStore(path: string): () => void {
  try {
    const database = lock(path, 0);
    return () => database.close();
  } catch (cause) {
    const message = `a gate uses ${dirname(path)}: stop it first, then restore`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
}

interface Opened {
  readonly database: DatabaseSync;
  /** It is large, and was not read whole. */
  readonly isUnread: boolean;
}

// What others look at a database by takes room on its disk (WAL-index, https://www.sqlite.org/walformat.html), and none where
// nobody else may look: on a full disk a gate starts all the same, and then it can be copied only once it has stopped.
function openDatabase(file: DatabaseFile, waitMs: number): Opened {
  try {
    return tryToOpen(file, waitMs, '');
  } catch (error) {
    if (whyRefused(error) === undefined) throw error;
    return tryToOpen(file, waitMs, 'PRAGMA locking_mode=EXCLUSIVE; ');
  }
}

function tryToOpen(file: DatabaseFile, timeout: number, how: string): Opened {
  const database = new DatabaseSync(file.path, { timeout });
  try {
    whole(file, () => database.exec(`${how}PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;`));
    const isUnread = checkBeginning(database, file);
    return { database, isUnread };
  } catch (error) {
    database.close();
    throw error;
  }
}

// On a file of its own, and of SQLite: the system takes it back when the process ends, however it ends.
function lock(path: string, timeout: number): DatabaseSync {
  const database = new DatabaseSync(`${path}.lock`, { timeout });
  try {
    // Nothing is ever written to it, and so no journal is: a full disk must not look like another process.
    database.exec('PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE;');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function toKyselyStatement(statement: StatementSync): SqliteStatement {
  const values = (parameters: readonly unknown[]) => parameters as readonly SQLInputValue[];
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...values(parameters)),
    run: (parameters) => statement.run(...values(parameters)),
    iterate: (parameters) => statement.iterate(...values(parameters)),
  };
}

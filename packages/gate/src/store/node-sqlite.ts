import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import {
  checkBeginning,
  checkMeanwhile,
  type DatabaseFile,
  prepareDatabaseFile,
  sizeOfLog,
  takeLock,
  whole,
} from '@csc-fleet/common/database';
import { CscError } from '@csc-fleet/common/errors';
import {
  type Compilable,
  type CompiledQuery,
  DummyDriver,
  Kysely,
  SqliteAdapter,
  type SqliteDatabase,
  SqliteDialect,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type SqliteStatement,
} from 'kysely';
import { whyRefused } from './store-error.ts';
import type { Tables } from './tables.ts';

const cachedStatements = 200;
// A gate that is being replaced may take a moment to end.
export const lockTimeoutMs = 2_000;

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

/** Writes queries, and runs none: NodeSqlite does, at once. */
export const queries = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (database) => new SqliteIntrospector(database),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

/** How a gate's database is restored. */
export const restoreGateCommand = 'csc restore gate --config FILE --from BACKUP';

/** What is asked of a database: a query of `queries`, or its text. */
type Query<Row> = Compilable<Row> | CompiledQuery<Row>;

/** node:sqlite for queries that Kysely writes, and in the form that its migrations drive. Statements are prepared once. */
export class NodeSqlite implements SqliteDatabase {
  readonly database: DatabaseSync;
  /** False: no other connection can be made to it. */
  readonly isShared: boolean;
  /** Whether there was anything in its write-ahead log before it was opened. */
  readonly hadLog: boolean;
  readonly #lock: DatabaseSync;
  readonly #statements = new Map<string, SqliteStatement>();
  readonly #stopChecking: () => void = () => undefined;

  /**
   * Opens or creates the file; every commit is on disk before it returns (WAL, synchronous=FULL), unless that is
   * changed. No other gate opens it until it is closed, as two on one store would both offer what is queued; it can be
   * copied meanwhile. Throws STORE_UNAVAILABLE where it is damaged, and what SQLite throws.
   * @param onDamaged where that is found later, of a database that is large
   */
  constructor(path: string, waitMs = lockTimeoutMs, onDamaged: (error: CscError) => void = () => undefined) {
    const file = { path, restore: restoreGateCommand };
    this.#lock = takeLock(lockOf(path), waitMs);
    try {
      prepareDatabaseFile(file);
      this.hadLog = sizeOfLog(path) > 0;
      const { database, isUnread, isShared } = openDatabase(file, waitMs);
      this.database = database;
      this.isShared = isShared;
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
    const statement = toKyselyStatement(this.database.prepare(sql));
    this.#statements.set(sql, statement);
    return statement;
  }

  /** The rows that a query gives. Throws what SQLite throws. */
  all<Row>(query: Query<Row>): Row[] {
    const { sql, parameters } = compiled(query);
    return this.prepare(sql).all(parameters) as Row[];
  }

  /** Runs what changes something; gives how many rows that has changed. Throws what SQLite throws. */
  run(query: Query<unknown>): number {
    const { sql, parameters } = compiled(query);
    return Number(this.prepare(sql).run(parameters).changes);
  }

  close(): void {
    this.#stopChecking();
    this.#statements.clear();
    this.database.close();
    this.#lock.close();
  }
}

function compiled<Row>(query: Query<Row>): CompiledQuery<Row> {
  return 'compile' in query ? query.compile() : query;
}

/** Behind the name of a store that was restored from a backup, until a gate has opened it. */
export const restoredMark = '.restored';

const lockOf = (path: string): string => `${path}.lock`;

/**
 * Keeps gates from opening a store until what it gives is called. Throws CONFIG_INVALID where one has it open,
 * FILE_UNWRITABLE.
 */
export function lockStore(path: string): () => void {
  try {
    const database = takeLock(lockOf(path), 0);
    return () => database.close();
  } catch (cause) {
    if (cause instanceof CscError) throw cause;
    const message = `a gate uses ${dirname(path)}: stop it first, then restore`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
}

interface Opened {
  readonly database: DatabaseSync;
  /** It is large, and was not read whole. */
  readonly isUnread: boolean;
  readonly isShared: boolean;
}

// What others look at a database by takes room on its disk (WAL-index, https://www.sqlite.org/walformat.html), and none where
// nobody else may look: on a full disk a gate starts all the same, and then it can be copied only once it has stopped.
function openDatabase(file: DatabaseFile, waitMs: number): Opened {
  try {
    return { ...tryToOpen(file, waitMs, ''), isShared: true };
  } catch (error) {
    if (whyRefused(error) === undefined) throw error;
    return { ...tryToOpen(file, waitMs, 'PRAGMA locking_mode=EXCLUSIVE; '), isShared: false };
  }
}

function tryToOpen(file: DatabaseFile, timeout: number, how: string): Omit<Opened, 'isShared'> {
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

function toKyselyStatement(statement: StatementSync): SqliteStatement {
  const values = (parameters: readonly unknown[]) => parameters as readonly SQLInputValue[];
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...values(parameters)),
    run: (parameters) => statement.run(...values(parameters)),
    iterate: (parameters) => statement.iterate(...values(parameters)),
  };
}

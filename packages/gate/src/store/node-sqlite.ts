import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import type { SqliteDatabase, SqliteStatement } from 'kysely';

const cachedStatements = 200;
// A gate that is being replaced may take a moment to end.
const lockTimeoutMs = 2_000;

/** node:sqlite in the form that Kysely's SQLite dialect drives. Statements are prepared once. */
export class NodeSqlite implements SqliteDatabase {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, SqliteStatement>();

  /**
   * Opens or creates the file; every commit is on disk before it returns (WAL, synchronous=FULL). It is this
   * process's alone until it is closed: two gates on one store would both offer what is queued.
   */
  constructor(path: string) {
    this.#database = new DatabaseSync(path, { timeout: lockTimeoutMs });
    this.#database.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;');
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
    this.#statements.clear();
    this.#database.close();
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

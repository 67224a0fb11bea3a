import { Commits, type CommitsOptions, type WriteAheadLog } from '@csc-fleet/common/database';
import { Signal } from '@csc-fleet/common/service';
import type { Compilable, CompiledQuery } from 'kysely';
import type { NodeSqlite } from './node-sqlite.ts';

/**
 * How each part of the store reads and writes: what it answers is on disk (WriteAheadLog says how).
 */
export class Access {
  readonly sqlite: NodeSqlite;
  /** Rings when there may be new audit records. */
  readonly audited = new Signal();
  readonly #log: WriteAheadLog;
  readonly #commits: Commits;

  constructor(sqlite: NodeSqlite, log: WriteAheadLog, options: CommitsOptions) {
    this.sqlite = sqlite;
    this.#log = log;
    this.#commits = new Commits(sqlite.database, log, options);
  }

  /** Does all of it or nothing, as Commits.run does; nothing where the next gate would not find it. */
  write<T>(work: () => T, withinMs?: number): Promise<T> {
    const placed = (): T => {
      this.#log.checkPlace();
      return work();
    };
    return this.#commits.run(placed, withinMs);
  }

  /** Told once what it shows is on disk. */
  async all<Row>(query: Compilable<Row> | CompiledQuery<Row>): Promise<Row[]> {
    const rows = this.sqlite.all(query);
    await this.#commits.settled;
    return rows;
  }

  async first<Row>(query: Compilable<Row> | CompiledQuery<Row>): Promise<Row | undefined> {
    return (await this.all(query))[0];
  }

  async close(): Promise<void> {
    await this.#commits.idle();
    await this.#log.close();
    this.sqlite.close();
  }
}

import { isDeepStrictEqual } from 'node:util';
import {
  type Compilable,
  CompiledQuery,
  type Insertable,
  type InsertQueryBuilder,
  type InsertResult,
  sql,
  type Updateable,
} from 'kysely';
import { type NodeSqlite, queries } from './node-sqlite.ts';
import type { Tables } from './tables.ts';

// What each step of each execution writes. Kysely makes a tree of a query and its text of that, anew each time; the texts of
// these are kept, one for each shape, and node:sqlite has their statements.

// The columns of a change differ with what changes; there are some dozens of such shapes.
const mostTexts = 200;
const texts = new Map<string, string>();

/**
 * The query of a shape, with other values.
 * @param shape all that its text depends on
 * @param values in the order in which its text has them
 * @param make the same with these values
 */
function keptQuery<Row>(
  shape: string,
  values: readonly unknown[],
  make: () => Compilable<Row>,
): CompiledQuery<Row> {
  const known = texts.get(shape);
  if (known !== undefined) return CompiledQuery.raw(known, [...values]) as CompiledQuery<Row>;
  const made = make().compile();
  if (!isDeepStrictEqual(made.parameters, values))
    throw new TypeError(`${shape}: its values are in another order`);
  if (texts.size >= mostTexts) texts.clear();
  texts.set(shape, made.sql);
  return made;
}

/** What becomes of a row where one is there that is as unique, and what that is called. */
export interface Otherwise<Table extends keyof Tables> {
  readonly name: string;
  readonly add: (
    query: InsertQueryBuilder<Tables, Table, InsertResult>,
  ) => InsertQueryBuilder<Tables, Table, InsertResult>;
}

/** Inserts a row, without what of it is undefined; gives how many rows that has changed. */
export function insertRow<Table extends keyof Tables & string>(
  sqlite: NodeSqlite,
  table: Table,
  row: Insertable<Tables[Table]>,
  otherwise?: Otherwise<Table>,
): number {
  const { columns, values } = split(row);
  const query = keptQuery(`insert ${table} ${otherwise?.name} ${columns}`, values, () => {
    const insert = queries.insertInto(table).values(row);
    return otherwise === undefined ? insert : otherwise.add(insert);
  });
  return sqlite.run(query);
}

/** Changes an execution in what of the change is not undefined. */
export function changeExecution(
  sqlite: NodeSqlite,
  executionId: string,
  change: Updateable<Tables['executions']>,
): void {
  const { columns, values } = split(change);
  if (columns.length === 0) return;
  const query = keptQuery(`update ${columns}`, [...values, executionId], () =>
    queries.updateTable('executions').set(change).where('execution_id', '=', executionId),
  );
  sqlite.run(query);
}

/** The number of the last event of an execution; 0 where it has none. */
export function lastSequence(sqlite: NodeSqlite, executionId: string): number {
  const query = keptQuery('last sequence', [executionId], () =>
    queries
      .selectFrom('events')
      .select('sequence')
      .where('execution_id', '=', executionId)
      .orderBy('sequence', 'desc')
      .limit(sql.lit(1)),
  );
  return sqlite.all(query)[0]?.sequence ?? 0;
}

/** What is stored for a principal, and of which day that is; undefined: nothing ever was. */
export function usageOf(
  sqlite: NodeSqlite,
  principal: string,
): { readonly day: number; readonly bytes: number } | undefined {
  const query = keptQuery('usage', [principal], () =>
    queries.selectFrom('usage').select(['day', 'bytes']).where('principal', '=', principal),
  );
  return sqlite.all(query)[0];
}

function split(row: object): { readonly columns: readonly string[]; readonly values: readonly unknown[] } {
  const entries = Object.entries(row).filter(([, value]) => value !== undefined);
  return { columns: entries.map(([column]) => column), values: entries.map(([, value]) => value) };
}

/** The execution that an idempotency key stands for; undefined: it is free. */
export function findKey(
  sqlite: NodeSqlite,
  { principal, idempotency_key: key }: Pick<Tables['idempotency_keys'], 'principal' | 'idempotency_key'>,
): string | undefined {
  const query = keptQuery('key', [principal, key], () =>
    queries
      .selectFrom('idempotency_keys')
      .select('execution_id')
      .where('principal', '=', principal)
      .where('idempotency_key', '=', key),
  );
  return sqlite.all(query)[0]?.execution_id;
}

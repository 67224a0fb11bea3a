import { isDeepStrictEqual } from 'node:util';
import {
  type Compilable,
  CompiledQuery,
  type Insertable,
  type InsertQueryBuilder,
  type InsertResult,
  type Kysely,
  sql,
  type Updateable,
} from 'kysely';
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
export async function insertRow<Table extends keyof Tables & string>(
  transaction: Kysely<Tables>,
  table: Table,
  row: Insertable<Tables[Table]>,
  otherwise?: Otherwise<Table>,
): Promise<number> {
  const { columns, values } = split(row);
  const query = keptQuery(`insert ${table} ${otherwise?.name} ${columns}`, values, () => {
    const insert = transaction.insertInto(table).values(row);
    return otherwise === undefined ? insert : otherwise.add(insert);
  });
  const { numAffectedRows = 0n } = await transaction.executeQuery(query);
  return Number(numAffectedRows);
}

/** Changes an execution in what of the change is not undefined. */
export async function changeExecution(
  transaction: Kysely<Tables>,
  executionId: string,
  change: Updateable<Tables['executions']>,
): Promise<void> {
  const { columns, values } = split(change);
  if (columns.length === 0) return;
  const query = keptQuery(`update ${columns}`, [...values, executionId], () =>
    transaction.updateTable('executions').set(change).where('execution_id', '=', executionId),
  );
  await transaction.executeQuery(query);
}

/** The number of the last event of an execution; 0 where it has none. */
export async function lastSequence(transaction: Kysely<Tables>, executionId: string): Promise<number> {
  const query = keptQuery('last sequence', [executionId], () =>
    transaction
      .selectFrom('events')
      .select('sequence')
      .where('execution_id', '=', executionId)
      .orderBy('sequence', 'desc')
      .limit(sql.lit(1)),
  );
  const { rows } = await transaction.executeQuery(query);
  return rows[0]?.sequence ?? 0;
}

/** What is stored for a principal, and of which day that is; undefined: nothing ever was. */
export async function usageOf(
  transaction: Kysely<Tables>,
  principal: string,
): Promise<{ readonly day: number; readonly bytes: number } | undefined> {
  const query = keptQuery('usage', [principal], () =>
    transaction.selectFrom('usage').select(['day', 'bytes']).where('principal', '=', principal),
  );
  const { rows } = await transaction.executeQuery(query);
  return rows[0];
}

function split(row: object): { readonly columns: readonly string[]; readonly values: readonly unknown[] } {
  const entries = Object.entries(row).filter(([, value]) => value !== undefined);
  return { columns: entries.map(([column]) => column), values: entries.map(([, value]) => value) };
}

const bare = (text: string): CompiledQuery => CompiledQuery.raw(text);

/** What surrounds each piece of a transaction, and all of it. */
export const around = {
  begin: bare('BEGIN'),
  commit: bare('COMMIT'),
  rollBack: bare('ROLLBACK'),
  beginPiece: bare('SAVEPOINT work'),
  endPiece: bare('RELEASE work'),
  undoPiece: bare('ROLLBACK TO work'),
} as const;

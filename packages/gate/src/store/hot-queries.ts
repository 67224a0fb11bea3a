import { CompiledQuery, type Insertable, type Kysely, type Updateable } from 'kysely';
import type { Tables } from './tables.ts';

// What each step of each execution writes. Kysely makes a tree of a query and its text of that, anew each time; the texts of
// these are made once for each shape, and node:sqlite has their statements.

/** Names, of the code's own; what belongs to a row is never part of a text. */
const name = /^[a-z][a-z_0-9]*$/;

// The columns of a change differ with what changes; there are some dozens of such shapes.
const mostTexts = 200;
const texts = new Map<string, string>();

function textOf(kind: string, table: string, columns: readonly string[], make: () => string): string {
  const shape = `${kind} ${table} ${columns.join()}`;
  const known = texts.get(shape);
  if (known !== undefined) return known;
  const odd = [table, ...columns].find((it) => !name.test(it));
  if (odd !== undefined) throw new TypeError(`${odd} is no name of a table or column`);
  if (texts.size >= mostTexts) texts.clear();
  const text = make();
  texts.set(shape, text);
  return text;
}

/** What is done where a row is there that is as unique. Texts of the code's own. */
type Otherwise = '' | `ON CONFLICT (${string}) DO ${string}`;

/** Inserts a row, without what of it is undefined; gives how many rows that has changed. */
export async function insertRow<Table extends keyof Tables & string>(
  transaction: Kysely<Tables>,
  table: Table,
  row: Insertable<Tables[Table]>,
  otherwise: Otherwise = '',
): Promise<number> {
  const { columns, values } = split(row);
  const text = textOf(`insert ${otherwise}`, table, columns, () => {
    const places = columns.map(() => '?').join(', ');
    return `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places}) ${otherwise}`;
  });
  return await run(transaction, text, values);
}

/** Changes an execution in what of the change is not undefined. */
export async function changeExecution(
  transaction: Kysely<Tables>,
  executionId: string,
  change: Updateable<Tables['executions']>,
): Promise<void> {
  const { columns, values } = split(change);
  if (columns.length === 0) return;
  const text = textOf('update', 'executions', columns, () => {
    const sets = columns.map((column) => `${column} = ?`).join(', ');
    return `UPDATE executions SET ${sets} WHERE execution_id = ?`;
  });
  await run(transaction, text, [...values, executionId]);
}

/** The number of the last event of an execution; 0 where it has none. */
export async function lastSequence(transaction: Kysely<Tables>, executionId: string): Promise<number> {
  const text = 'SELECT sequence FROM events WHERE execution_id = ? ORDER BY sequence DESC LIMIT 1';
  const query: CompiledQuery<{ readonly sequence: number }> = CompiledQuery.raw(text, [executionId]);
  const { rows } = await transaction.executeQuery(query);
  return rows[0]?.sequence ?? 0;
}

/** What is stored for a principal, and of which day that is; undefined: nothing ever was. */
export async function usageOf(
  transaction: Kysely<Tables>,
  principal: string,
): Promise<{ readonly day: number; readonly bytes: number } | undefined> {
  const text = 'SELECT day, bytes FROM usage WHERE principal = ?';
  const query: CompiledQuery<{ readonly day: number; readonly bytes: number }> = CompiledQuery.raw(text, [
    principal,
  ]);
  const { rows } = await transaction.executeQuery(query);
  return rows[0];
}

function split(row: object): { readonly columns: readonly string[]; readonly values: readonly unknown[] } {
  const entries = Object.entries(row).filter(([, value]) => value !== undefined);
  return { columns: entries.map(([column]) => column), values: entries.map(([, value]) => value) };
}

async function run(transaction: Kysely<Tables>, text: string, values: readonly unknown[]): Promise<number> {
  const { numAffectedRows = 0n } = await transaction.executeQuery(CompiledQuery.raw(text, [...values]));
  return Number(numAffectedRows);
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

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { ExecutionState } from '@csc-fleet/common/messages';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { readProcess } from './processes.ts';
import { type Row, toRow } from './report.ts';
import { scaled, timing, watched } from './rounds.ts';

const rounds = 5;
const submissions = 30;
const lists = 20;
const bar = { max: 1.2 };

/** A gate whose store has many executions that have ended, against one with an empty store, in turns. */
export async function measure(): Promise<Row[]> {
  const count = scaled(100_000);
  await using full = await startFleet({ executors: [] });
  await using empty = await startFleet({ executors: [] });
  await grow(full, count);
  const found: Record<'start' | 'cpu' | 'submit' | 'list', { full: number[]; empty: number[] }> = {
    start: { full: [], empty: [] },
    cpu: { full: [], empty: [] },
    submit: { full: [], empty: [] },
    list: { full: [], empty: [] },
  };
  const turn = async (which: 'full' | 'empty', fleet: Fleet): Promise<void> => {
    await fleet.gate.stop();
    found.start[which].push(await timing(() => fleet.startGate()));
    found.cpu[which].push(1000 * readProcess(fleet.gate.child.pid).cpuSeconds);
    const ids: string[] = [];
    const submit = async (): Promise<void> => {
      ids.push((await fleet.connect().submit(contractOf(fleet), { queueTimeoutMs: 60_000 })).executionId);
    };
    found.submit[which].push(await each(submissions, submit));
    for (const id of ids) await fleet.connect().cancel(id);
    found.list[which].push(
      await each(lists, async () => {
        const { FAILED, CANCELLED } = ExecutionState;
        if ((await firstPage(fleet, [FAILED])) > 0) throw new Error('nothing has failed here');
        await firstPage(fleet, [CANCELLED]);
      }),
    );
  };
  // The first turns are thrown away: what is read first comes from the disk, and a store that is empty has no whole page yet.
  await turn('full', full);
  await turn('empty', empty);
  for (const { full, empty } of Object.values(found)) full.length = empty.length = 0;
  for (let round = 0; round < scaled(rounds); round++) {
    await watched(() => turn('full', full));
    await turn('empty', empty);
  }
  const row = (what: string, { full, empty }: { full: number[]; empty: number[] }): Row =>
    toRow('history', `${what} with ${count} finished, against none`, full, empty, 'ms', bar);
  return [
    row('start until it listens', found.start),
    row('CPU of that', found.cpu),
    row('submit', found.submit),
    row('list by state', found.list),
  ];
}

function contractOf(fleet: Fleet) {
  return fleet.contract({ argv: ['true'] });
}

async function firstPage(fleet: Fleet, states: ExecutionState[]): Promise<number> {
  let count = 0;
  for await (const _ of fleet.connect().list({ states, pageSize: 50 })) if (++count === 50) break;
  return count;
}

async function each(count: number, work: () => Promise<void>): Promise<number> {
  await work();
  return (
    (await timing(async () => {
      for (let i = 0; i < count; i++) await work();
    })) / count
  );
}

/** Multiplies what a few executions have left that were really submitted and ended. */
async function grow(fleet: Fleet, count: number): Promise<void> {
  const { executionId } = await fleet.connect().submit(contractOf(fleet), { queueTimeoutMs: 60_000 });
  await fleet.connect().cancel(executionId);
  await fleet.gate.stop();
  const database = new DatabaseSync(join(fleet.directory, 'gate', 'gate.db'));
  database.exec(`PRAGMA synchronous=OFF; BEGIN;
    CREATE TEMP TABLE copies AS WITH RECURSIVE one(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM one WHERE n < ${count})
      SELECT n, lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' ||
        substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))) AS id FROM one`);
  for (const table of ['executions', 'events', 'receipts', 'audit']) {
    const columns = database
      .prepare(`SELECT name FROM pragma_table_info('${table}') WHERE name NOT IN ('number', 'execution_id')
        AND NOT ('${table}' = 'audit' AND name = 'sequence')`)
      .all()
      .map(({ name }) => String(name))
      .join(', ');
    database.exec(`INSERT INTO ${table} (execution_id, ${columns})
      SELECT copies.id, ${columns} FROM copies, (SELECT * FROM ${table} WHERE execution_id = '${executionId}')`);
  }
  database.exec('COMMIT; PRAGMA wal_checkpoint(TRUNCATE)');
  database.close();
  await fleet.startGate();
  await logged(fleet, count);
}

/**
 * Resolves once the log of receipts has so many: a gate takes them in as they come, and works on all that it has not
 * yet had beside whatever it is asked.
 */
async function logged(fleet: Fleet, count: number): Promise<void> {
  const checkpoint = join(fleet.directory, 'gate', 'log', 'tree', 'checkpoint');
  const size = (): number =>
    Number(existsSync(checkpoint) ? readFileSync(checkpoint, 'utf8').split('\n')[1] : 0);
  for (let waits = 0; size() < count; waits++) {
    if (waits > 2000) throw new Error(`the log of receipts has ${size()} of ${count}`);
    await delay(50);
  }
}

import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate } from 'node:timers/promises';
import type { SyncFile } from '@csc-fleet/common/database';
import type { CscError } from '@csc-fleet/common/errors';
import { type ExecutionEvent, ExecutionState } from '@csc-fleet/common/messages';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ListQuery } from './execution-store.ts';
import { createMemoryStore } from './memory-store.ts';
import { NodeSqlite } from './node-sqlite.ts';
import { openStore, type Store } from './store.ts';
import type { NewExecution } from './tables.ts';
import type { Step } from './write-step.ts';

let directory: string;
let store: Store;
const failures: CscError[] = [];

const open = (sync?: SyncFile) =>
  openStore(join(directory, 'gate.db'), { onLost: (error) => failures.push(error) }, sync);

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'csc-store-'));
  failures.length = 0;
  store = await open();
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

// What is in memory stays for as long as the store does.
let isInMemory = false;

async function reopen(): Promise<void> {
  if (isInMemory) return;
  await store.close();
  store = await open();
}

function row(overrides: Partial<NewExecution> = {}): NewExecution {
  return {
    execution_id: randomUUID(),
    principal: 'spiffe://csc.local/client/agent',
    state: ExecutionState.QUEUED,
    contract_id: 'contract-1',
    contract_sha256: 'aa',
    contract_json: '{"commands":[]}',
    intent: 'a test',
    policy_profile: 'default',
    policy_sha256: 'bb',
    decision: Buffer.from([1, 2, 3]),
    decision_expires_at: '2026-01-02T00:00:00Z',
    selector_json: '{}',
    receipt_version: 'csc.receipt.v0.2',
    approvals_json: '[]',
    submission_json: null,
    submission_token: null,
    binding: null,
    terminal_json: null,
    submitted_at: '2026-01-01T00:00:00Z',
    queue_deadline: null,
    executor_id: null,
    ticket_id: null,
    ticket_epoch: null,
    limits_json: null,
    trace_context: null,
    pruned_at: null,
    started_at: null,
    ended_at: null,
    exit_code: null,
    error: '',
    ...overrides,
  };
}

const nothing: Step = { change: {}, events: [] };

function event(executionId: string, sequence: number): ExecutionEvent {
  const cancelling = { principal: 'somebody', gracePeriod: undefined };
  return { executionId, sequence, at: new Date(0), event: { $case: 'cancelling', value: cancelling } };
}

describe.each(['on disk', 'in memory'])('a store %s', (where) => {
  beforeEach(async () => {
    isInMemory = where === 'in memory';
    if (!isInMemory) return;
    await store.close();
    store = createMemoryStore();
  });
  afterEach(() => {
    isInMemory = false;
  });

  describe('an execution', () => {
    it('is as it was in a store that is opened again', async () => {
      const created = row();
      const { contract_json: contract, ...kept } = created;
      const id = created.execution_id;
      expect(await store.create(created, { ...nothing, events: [event(id, 1)] })).toBe(true);
      await store.advance(id, {
        change: { state: ExecutionState.RUNNING, executor_id: 'host' },
        events: [event(id, 2), event(id, 3)],
      });
      await reopen();
      const expected = { ...kept, number: 1, state: ExecutionState.RUNNING, executor_id: 'host' };
      expect(await store.find(id)).toEqual({ ...expected, decision: new Uint8Array(kept.decision) });
      expect(await store.contract(id)).toBe(contract);
      expect((await store.events(id)).map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
      expect(await store.find(randomUUID())).toBeUndefined();
    });

    it('is open until it has ended', async () => {
      const rows = [row(), row(), row({ ended_at: '2026-01-01T00:00:00Z' })];
      for (const it of rows) await store.create(it, nothing);
      await store.advance(rows[0]?.execution_id ?? '', {
        change: { ended_at: '2026-01-01T00:00:01Z' },
        events: [],
        receipt: { receiptJson: Buffer.from('receipt'), originalJson: Buffer.from('original') },
      });
      expect((await store.open()).map((it) => it.execution_id)).toEqual([rows[1]?.execution_id]);
      expect(await store.receipt(rows[0]?.execution_id ?? '')).toEqual({
        receiptJson: Buffer.from('receipt'),
        originalJson: Buffer.from('original'),
      });
      expect(await store.receipt(rows[1]?.execution_id ?? '')).toBeUndefined();
    });

    it('has one receipt', async () => {
      const { execution_id: id, ...rest } = row();
      const receipt = (text: string) => ({ receiptJson: Buffer.from(text), originalJson: Buffer.alloc(0) });
      const step = { ...nothing, receipt: receipt('first') };
      await store.create({ ...rest, execution_id: id }, step);
      await expect(store.advance(id, { ...step, receipt: receipt('second') })).rejects.toThrow();
      expect(await store.receipt(id)).toEqual(receipt('first'));
    });

    it('has for its late receipt that of its executor, whoever else had been offered it and was faster', async () => {
      const created = row({ executor_id: 'holder' });
      await store.create(created, nothing);
      for (const executor of ['another', 'holder']) {
        const withdrawn = { ticket_id: `of ${executor}`, executor_id: executor };
        await store.advance(created.execution_id, { ...nothing, withdrawn });
        await store.addLateReceipt(created.execution_id, withdrawn, Buffer.from(executor));
      }
      const own = { ticket_id: 'of holder', executor_id: 'holder' };
      const again = (text: string) => store.addLateReceipt(created.execution_id, own, Buffer.from(text));
      expect([await again('holder'), await again('another')]).toEqual([true, false]);
      const late = await store.lateReceipt(created.execution_id, 'holder');
      expect(late?.receiptJson.toString()).toBe('holder');
    });
  });

  describe('approvals', () => {
    it('are used up by one of many steps that come at once, and the others leave nothing', async () => {
      const rows = Array.from({ length: 5 }, () => row());
      const results = await Promise.allSettled(
        rows.map((it) => store.create(it, { ...nothing, approvals: [randomUUID(), 'approval-1'] })),
      );
      expect(results.map((it) => it.status)).toEqual(['fulfilled', ...Array(4).fill('rejected')]);
      expect(results[1]).toMatchObject({ reason: { code: 'APPROVAL_INVALID' } });
      expect(await store.open()).toHaveLength(1);
      await reopen();
      await expect(store.create(row(), { ...nothing, approvals: ['approval-1'] })).rejects.toMatchObject({
        code: 'APPROVAL_INVALID',
      });
    });

    it('of a step that fails stay free', async () => {
      await store.create(row(), { ...nothing, approvals: ['used'] });
      await expect(store.create(row(), { ...nothing, approvals: ['free', 'used'] })).rejects.toThrow();
      expect(await store.create(row(), { ...nothing, approvals: ['free'] })).toBe(true);
    });
  });

  describe('an idempotency key', () => {
    const key = { principal: 'a', idempotency_key: 'k' };

    it('stands for the first execution that came with it, for its principal', async () => {
      const [first, second, third] = [row(), row(), row()];
      const created = [
        store.create(first, { ...nothing, key }),
        store.create(second, { ...nothing, key }),
        store.create(third, { ...nothing, key: { ...key, principal: 'b' } }),
      ];
      expect(await Promise.all(created)).toEqual([true, false, true]);
      expect((await store.findByKey(key))?.execution_id).toBe(first.execution_id);
      expect(await store.find(second.execution_id)).toBeUndefined();
      expect(await store.findByKey({ ...key, idempotency_key: 'none' })).toBeUndefined();
    });

    it('may be given to an execution later, if it is free', async () => {
      const [first, second] = [row(), row()];
      await store.create(first, nothing);
      await store.create(second, nothing);
      await store.advance(first.execution_id, { ...nothing, key });
      await expect(store.advance(second.execution_id, { ...nothing, key })).rejects.toMatchObject({
        code: 'IDEMPOTENCY_CONFLICT',
      });
      expect((await store.findByKey(key))?.execution_id).toBe(first.execution_id);
    });
  });

  describe('a list', () => {
    it('is one principal’s, newest first, a page at a time', async () => {
      for (let i = 1; i <= 5; i++) await store.create(row({ contract_id: `c-${i}` }), nothing);
      await store.create(row({ principal: 'other' }), nothing);
      const query = { principal: row().principal, states: [], limit: 2 };
      const first = await store.list(query);
      expect(first.map((it) => it.contract_id)).toEqual(['c-5', 'c-4']);
      const next = await store.list({ ...query, before: first[1]?.number ?? 0 });
      expect(next.map((it) => it.contract_id)).toEqual(['c-3', 'c-2']);
      expect(await store.list({ ...query, states: [ExecutionState.FAILED] })).toEqual([]);
    });

    it('is of some states, of one principal or of all', async () => {
      const { SUCCEEDED, FAILED, BLOCKED } = ExecutionState;
      const states = [SUCCEEDED, FAILED, BLOCKED, FAILED, SUCCEEDED];
      for (const [i, state] of states.entries())
        await store.create(row({ contract_id: `c-${i}`, state, principal: i < 4 ? 'a' : 'b' }), nothing);
      const list = async (query: Partial<ListQuery>) => {
        const found = await store.list({ states: [], limit: 3, ...query });
        return found.map((it) => it.contract_id);
      };
      expect(await list({ states: [FAILED] })).toEqual(['c-3', 'c-1']);
      expect(await list({ states: [SUCCEEDED, FAILED] })).toEqual(['c-4', 'c-3', 'c-1']);
      expect(await list({ states: [SUCCEEDED, FAILED], before: 4 })).toEqual(['c-1', 'c-0']);
      expect(await list({ states: [SUCCEEDED, BLOCKED], principal: 'a' })).toEqual(['c-2', 'c-0']);
      expect(await list({ states: [FAILED, SUCCEEDED, BLOCKED], limit: 1 })).toEqual(['c-4']);
    });
  });
});

describe('a store on disk', () => {
  it('commits everything that was asked for before it was closed', async () => {
    const rows = Array.from({ length: 20 }, () => row());
    const creating = rows.map((it) => store.create(it, { ...nothing, withinMs: 60_000 }));
    await store.close();
    expect(await Promise.all(creating)).toEqual(Array(20).fill(true));
    store = await open();
    expect(await store.open()).toHaveLength(20);
  });

  it('changes what a step names, whatever the one before has named', async () => {
    const execution = row();
    await store.create(execution, nothing);
    const changes = [{ error: 'why' }, { executor_id: 'host' }, { state: ExecutionState.LOST, error: 'so' }];
    for (const change of changes) await store.advance(execution.execution_id, { change, events: [] });
    expect(await store.find(execution.execution_id)).toMatchObject({
      executor_id: 'host',
      state: ExecutionState.LOST,
      error: 'so',
    });
  });

  it('has what may wait on disk with the next thing that may not', async () => {
    const waiting = row();
    await store.create(waiting, nothing);
    const later = store.advance(waiting.execution_id, {
      change: { error: 'later' },
      events: [],
      withinMs: 600_000,
    });
    await store.create(row(), nothing);
    await later;
    expect((await store.find(waiting.execution_id))?.error).toBe('later');
  });

  it('is one gate’s alone', async () => {
    await expect(open()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });

  it('is not opened by an earlier release than the one that has written it', async () => {
    const later = join(directory, 'later', 'gate.db');
    await (await openStore(later)).close();
    const database = new DatabaseSync(later);
    database.exec("INSERT INTO kysely_migration VALUES ('9999-later', '2030-01-01')");
    database.close();
    await expect(openStore(later)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringMatching(/a later release has written the store .*\(9999-later\): run that one/),
      isLasting: true,
    });
  });

  it('is not made where it cannot be', async () => {
    mkdirSync(join(directory, 'as-directory', 'gate.db'), { recursive: true });
    writeFileSync(join(directory, 'no-database'), 'x'.repeat(4096));
    for (const path of ['as-directory/gate.db', 'no-database', 'no-database/gate.db']) {
      await expect(openStore(join(directory, path))).rejects.toMatchObject({
        code: 'STORE_UNAVAILABLE',
      });
    }
  });

  it('tells those who wait, and its owner, that it takes no more', async () => {
    await store.close();
    await expect(store.create(row(), nothing)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(failures).toHaveLength(1);
    store = await open();
  });

  it('makes no statement of what is no name of a column', async () => {
    const odd = Object.assign(row(), { 'intent) VALUES (1); --': 'x' });
    await expect(store.create(odd, nothing)).rejects.toThrow('has no column named intent) VALUES (1)');
    expect(await store.open()).toEqual([]);
  });

  // Another writer keeps the disk from it: whoever waited for that here would never see it end.
  it('holds up nobody while it waits for the disk', async () => {
    await store.close();
    store = await open();
    const other = new DatabaseSync(join(directory, 'gate.db'));
    other.exec('BEGIN IMMEDIATE');
    let isDurable = false;
    const creating = store.create(row(), nothing).then(() => {
      isDurable = true;
    });
    for (let turn = 0; turn < 100; turn += 1) await setImmediate();
    expect(isDurable).toBe(false);
    expect(await store.findByKey({ principal: 'a', idempotency_key: 'new' })).toBeUndefined();
    other.exec('COMMIT');
    other.close();
    await creating;
    expect(await store.open()).toHaveLength(1);
  });
});

/** A disk that takes its time. */
function slowDisk(): { readonly sync: SyncFile; take(): void; refuse(): void } {
  let { promise, resolve, reject } = Promise.withResolvers<void>();
  return {
    sync: () => promise,
    take: () => {
      const taken = resolve;
      ({ promise, resolve, reject } = Promise.withResolvers<void>());
      taken();
    },
    refuse: () => {
      const refused = reject;
      promise = Promise.resolve();
      refused(Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' }));
    },
  };
}

describe('a store and its disk', () => {
  let disk: ReturnType<typeof slowDisk>;
  const fails = { code: 'STORE_UNAVAILABLE', retryAfterMs: undefined };
  const turns = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) await setImmediate();
  };

  async function openSlow(): Promise<void> {
    await store.close();
    disk = slowDisk();
    store = await open((file) => disk.sync(file));
  }

  it('tells nobody what is not on disk, neither who has written it nor who reads it', async () => {
    await openSlow();
    const said: string[] = [];
    const [one, two] = [row(), row()];
    const note = (what: string) => () => void said.push(what);
    const key = { principal: 'a', idempotency_key: 'k' };
    const written = store.create(one, { ...nothing, key }).then(note('written'));
    await turns();
    const read = [store.find(one.execution_id), store.list({ states: [], limit: 9 }), store.findByKey(key)];
    const all = [written, ...read.map((it, index) => it.then(note(`read ${index}`)))];
    expect(await store.findByKey({ ...key, idempotency_key: 'free' })).toBeUndefined();
    // One that comes meanwhile is not on disk with it: what was put there was written before.
    const later = store.create(two, nothing).then(note('later'));
    await turns();
    expect(said).toEqual([]);
    disk.take();
    await Promise.all(all);
    await turns();
    expect(said).not.toContain('later');
    disk.take();
    await later;
    expect(await store.find(two.execution_id)).toBeDefined();
  });

  it('is lost where the disk has refused what was written, and takes nothing more, whatever the disk says then', async () => {
    await openSlow();
    const said: string[] = [];
    const told = (): void => void said.push('told what nobody knows');
    store.create(row(), nothing).then(told, told);
    await turns();
    const read = expect(store.open()).rejects.toMatchObject(fails);
    disk.refuse();
    await read;
    await turns();
    expect(said).toEqual([]);
    await expect(store.create(row(), nothing)).rejects.toMatchObject(fails);
    await expect(store.open()).rejects.toMatchObject(fails);
    expect(failures).toHaveLength(1);
  });

  it('has all that it has told after a power cut, whatever that leaves of the log', async () => {
    await openSlow();
    const [told, untold] = [row(), row({ contract_json: 'x'.repeat(20_000) })];
    const telling = store.create(told, nothing);
    await turns();
    disk.take();
    await telling;
    const wal = join(directory, 'gate.db-wal');
    const synced = statSync(wal).size;
    const lost = store.create(untold, nothing);
    await turns();
    const size = statSync(wal).size;
    expect(size).toBeGreaterThan(synced + 20_000);
    const halfway = Math.floor((synced + size) / 2);
    const cuts: ((log: string) => void)[] = [
      (log) => truncateSync(log, synced),
      (log) => truncateSync(log, halfway),
      // What came later is there, and what was before it is not.
      (log) => writeAt(log, synced, Buffer.alloc(halfway - synced)),
      (log) => writeAt(log, halfway, Buffer.alloc(size - halfway)),
    ];
    for (const [index, cut] of cuts.entries()) {
      const after = join(directory, `after-${index}`);
      mkdirSync(after);
      // Not by this process: with a descriptor of its own that it closes go the locks of the store.
      spawnSync('cp', [join(directory, 'gate.db'), wal, after]);
      cut(join(after, 'gate.db-wal'));
      const found = await openStore(join(after, 'gate.db'));
      expect((await found.open()).map((it) => it.execution_id)).toEqual([told.execution_id]);
      await found.close();
    }
    disk.take();
    await lost;
  });

  it('keeps its log short, however much is written', async () => {
    const rows = Array.from({ length: 33 }, () => row({ contract_json: 'x'.repeat(600_000) }));
    for (const it of rows) await store.create(it, nothing);
    const other = new DatabaseSync(join(directory, 'gate.db'), { readOnly: true });
    const pages = () => Number(other.prepare('PRAGMA wal_checkpoint(NOOP)').get()?.['log']);
    await expect.poll(pages).toBe(1);
    const { size } = statSync(join(directory, 'gate.db-wal'));
    expect(size).toBeLessThan(19_000_000);
    for (const it of rows.splice(0, 5))
      await store.advance(it.execution_id, { change: { error: 'x' }, events: [] });
    expect(pages()).toBeLessThan(1000);
    expect(statSync(join(directory, 'gate.db-wal')).size).toBe(size);
    other.close();
    await reopen();
    expect(await store.open()).toHaveLength(33);
  });
});

function writeAt(path: string, offset: number, bytes: Buffer): void {
  const file = openSync(path, 'r+');
  writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

describe('the file of a store', () => {
  const path = () => join(directory, 'gate.db');
  const damage: readonly [string, () => void][] = [
    ['is empty', () => writeFileSync(path(), '')],
    ['was cut off', () => truncateSync(path(), 3 * 4096 + 100)],
    ['has other bytes in its beginning', () => writeFileSync(path(), Buffer.alloc(4096, 7), { flag: 'r+' })],
    [
      'is gone, while what was last written is there',
      () => {
        rmSync(path());
        writeFileSync(`${path()}-wal`, 'pages');
      },
    ],
  ];

  it.each(damage)('is refused with how to restore it, and left alone, where it %s', async (_, harm) => {
    await store.close();
    harm();
    const before = () =>
      [path(), `${path()}-wal`].map((it) => readFileSync(it, { flag: 'a+' }).toString('hex'));
    const was = before();
    await expect(open()).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringMatching(/nothing was changed.*csc restore gate/),
    });
    expect(before()).toEqual(was);
    for (const name of ['gate.db', 'gate.db-wal']) rmSync(join(directory, name), { force: true });
    store = await open();
  });

  it('is one gate’s at a time', () => {
    expect(() => new NodeSqlite(path(), 0)).toThrow(expect.objectContaining({ errcode: 5 }));
  });

  it('outlives a kill in the middle of any migration', async () => {
    const young = join(directory, 'young', 'gate.db');
    const killAt = (statement: string): void => {
      const code = `
        import { DatabaseSync } from 'node:sqlite';
        const prepare = DatabaseSync.prototype.prepare;
        DatabaseSync.prototype.prepare = function (sql) {
          if (sql.includes(${JSON.stringify(statement)})) process.kill(process.pid, 'SIGKILL');
          return prepare.call(this, sql);
        };
        const { openStore } = await import(${JSON.stringify(new URL('./store.ts', import.meta.url).href)});
        await openStore(${JSON.stringify(young)});`;
      expect(spawnSync(process.execPath, ['--input-type=module', '-e', code]).signal).toBe('SIGKILL');
    };
    // The last statements of a migration each; and the first of all.
    for (const statement of [
      'create table "events"',
      'UPDATE executions SET executor_id',
      'create table "executors"',
      'INDEX executors_seen',
    ])
      killAt(statement);
    const mended = await openStore(young);
    expect(await mended.open()).toEqual([]);
    await mended.close();
  });
});

describe('a store that has grown', () => {
  const principal = row().principal;
  const chainHead = { executor_id: 'host', epoch: 'e', sequence: 1, receipt_sha256: '', signed_at: '' };
  const record = { at: '2026-01-01T00:00:00Z', kind: 'k', outcome: '', record: Buffer.alloc(0) };
  const calls: { readonly [method in keyof Store]: (store: Store, id: string) => unknown } = {
    create: (it) =>
      it.create(row(), {
        change: {},
        events: [event('', 1)],
        key: { principal, idempotency_key: 'new' },
        usage: { principal, now: new Date(0), bytes: 1, bytesPerDay: 10 },
        audit: [record],
        approvals: ['new'],
      }),
    advance: (it, id) =>
      it.advance(id, {
        change: { state: ExecutionState.LOST },
        events: [event(id, 1)],
        withdrawn: { ticket_id: 't', executor_id: 'host' },
      }),
    find: (it, id) => it.find(id),
    findByKey: (it) => it.findByKey({ principal, idempotency_key: 'k-7' }),
    findByPrefix: (it, id) => it.findByPrefix(principal, id.slice(0, 8)),
    contract: (it, id) => it.contract(id),
    open: (it) => it.open(),
    list: async (it) => {
      await it.list({ states: [], limit: 10 });
      await it.list({ principal, states: [], limit: 10, before: 900 });
      await it.list({ states: [ExecutionState.CANCELLED], limit: 10 });
      await it.list({ principal, states: [ExecutionState.CANCELLED], limit: 10, before: 900 });
      const states = [ExecutionState.CANCELLED, ExecutionState.FAILED, ExecutionState.SUCCEEDED];
      await it.list({ principal, states, limit: 10 });
    },
    events: (it, id) => it.events(id),
    receipt: (it, id) => it.receipt(id),
    withdrawnTickets: (it, id) => it.withdrawnTickets(id, 'host'),
    addLateReceipt: (it, id) =>
      it.addLateReceipt(id, { ticket_id: 't', executor_id: 'host' }, Buffer.alloc(1), record),
    lateReceipt: (it, id) => it.lateReceipt(id, 'host'),
    keys: (it) => it.keys(),
    addKey: (it) => it.addKey({ key_id: 'k', public_key: Buffer.alloc(32), owner: 'o', since: '' }),
    chainHeads: (it) => it.chainHeads('host'),
    keepChainHead: (it) => it.keepChainHead({ ...chainHead, head_json: Buffer.alloc(1) }),
    whole: (it) => it.whole(0, 10),
    strip: (it, id) => it.strip([id], '2026-01-01T00:00:00Z'),
    forgettable: (it) =>
      it.forgettable('2026-02-01', 10, { number: 3, ended_at: '2026-01-01', execution_id: '' }),
    forget: (it, id) => it.forget([id]),
    usedBytes: (it) => it.usedBytes(),
    keepExecutor: (it) => it.keepExecutor({ executor_id: 'e', seen_at: '', told: Buffer.alloc(0) }, 0),
    executors: (it) => it.executors(10),
    auditAfter: (it) => it.auditAfter(2990, { principal, outcome: 'x', since: '2026', until: '2027' }),
    auditBefore: async (it) => [await it.auditBefore(), await it.auditBefore('2026')],
    auditLast: (it) => it.auditLast(),
    lastOfOwners: (it) => it.lastOfOwners('k'),
    addAudit: (it) => it.addAudit([record]),
    receiptRecords: (it, id) => it.receiptRecords(id),
    skipAudit: (it) => it.skipAudit(1),
    pruneAudit: (it) => it.pruneAudit('2025', 10),
    audited: (it) => it.audited(AbortSignal.abort()),
    close: () => undefined,
  };

  /** So many that ended, of which some were pruned. */
  function grow(count: number): string {
    const database = new DatabaseSync(join(directory, 'gate.db'));
    const { contract_json: _, ...template } = row({ state: ExecutionState.SUCCEEDED });
    const columns = Object.keys(template).filter((it) => it !== 'execution_id');
    database.exec(`CREATE TEMP TABLE one AS WITH RECURSIVE one(n) AS
      (SELECT 1 UNION ALL SELECT n + 1 FROM one WHERE n < ${count})
      SELECT n, printf('%08x-0000-4000-8000-%012x', n * 2654435761 % 4294967296, n) AS id FROM one`);
    const values = columns.map((it) => {
      if (it === 'ended_at') return "'2026-01-01T00:00:00Z'";
      if (it === 'pruned_at') return "CASE WHEN n % 3 = 0 THEN '2026-01-02' END";
      const value = template[it as keyof typeof template];
      if (value instanceof Uint8Array) return "x'010203'";
      return value === null ? 'NULL' : typeof value === 'number' ? String(value) : `'${String(value)}'`;
    });
    database.exec(`
      INSERT INTO executions (execution_id, contract_json, ${columns.join(', ')})
        SELECT id, hex(zeroblob(700)), ${values.join(', ')} FROM one;
      INSERT INTO events SELECT id, k, zeroblob(900) FROM one, (SELECT 1 AS k UNION SELECT 2);
      INSERT INTO receipts (execution_id, receipt_json) SELECT id, zeroblob(900) FROM one;
      INSERT INTO idempotency_keys SELECT '${principal}', 'k-' || n, id FROM one;
      INSERT INTO approvals_used SELECT 'a-' || n, id FROM one;
      INSERT INTO withdrawn_offers SELECT 't-' || n, id, 'host', NULL FROM one;
      INSERT INTO audit (at, kind, execution_id, outcome, record)
        SELECT '2026-01-01T00:00:00Z', 'k', id, '', zeroblob(900) FROM one;`);
    const id = String(database.prepare('SELECT id FROM one WHERE n = 7').get()?.['id']);
    database.close();
    return id;
  }

  // Of this thread alone, on which the store's calls are: what checkpoints read beside them is not theirs.
  const bytesRead = (): number =>
    Number(/^rchar: (\d+)/.exec(readFileSync('/proc/thread-self/io', 'utf8'))?.[1]);

  it('reads and writes no more of itself than what it is asked for', async () => {
    const id = grow(3000);
    const read: Record<string, number> = {};
    // Each in the cache of the one before, which is smaller than any of the tables.
    for (const [name, call] of Object.entries(calls)) {
      const before = bytesRead();
      await call(store, id);
      read[name] = bytesRead() - before;
    }
    expect(Object.entries(read).filter(([, bytes]) => bytes > 400_000)).toEqual([]);
  });

  it('is opened at once, and where it is damaged far inside, given up and not opened again', async () => {
    grow(5000);
    await store.close();
    const path = join(directory, 'gate.db');
    const { size } = statSync(path);
    const page = Math.floor(size / 8192) * 4096;
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(4096, 7), 0, 4096, page);
    closeSync(file);
    const { promise: lost, resolve } = Promise.withResolvers<CscError>();
    store = await openStore(path, { onLost: resolve });
    expect(await lost).toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringContaining('restore'),
    });
    await store.close();
    await expect(open()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    for (const name of readdirSync(directory)) rmSync(join(directory, name));
    store = await open();
  });

  it('goes through an index, whatever it is asked', async () => {
    const asked = new Set<string>();
    const { prepare } = NodeSqlite.prototype;
    const spy = vi.spyOn(NodeSqlite.prototype, 'prepare').mockImplementation(function (
      this: NodeSqlite,
      text,
    ) {
      asked.add(text);
      return prepare.call(this, text);
    });
    try {
      const id = grow(10);
      for (const call of Object.values(calls)) await call(store, id);
    } finally {
      spy.mockRestore();
    }
    expect(asked.size).toBeGreaterThan(Object.keys(calls).length);
    const database = new DatabaseSync(join(directory, 'gate.db'));
    const plans = [...asked].flatMap((text) =>
      database
        .prepare(`EXPLAIN QUERY PLAN ${text}`)
        .all()
        .map(({ detail }) => ({ detail: String(detail), text })),
    );
    database.close();
    // All of it: what an index holds that is of what is open, or still whole, alone; what has a LIMIT, in the order of the table.
    const bounded =
      /USING (?:COVERING )?INDEX executions_(?:open|whole)\b|^SCAN (?:page|executors USING|keys|pragma_|sqlite_sequence)/;
    const scans = plans.filter(
      ({ detail, text }) =>
        (/^SCAN /.test(detail) && !bounded.test(detail) && !/ order by .* limit \?$/.test(text)) ||
        (/TEMP B-TREE/.test(detail) && !/"chain_heads"|"withdrawn_offers"|number" in \(/.test(text)),
    );
    expect(scans).toEqual([]);
  });
});

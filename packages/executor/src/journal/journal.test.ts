import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate } from 'node:timers/promises';
import { toConsumed } from '@csc-fleet/common/approval';
import type { ChainLink } from '@csc-fleet/common/evidence';
import { processIdentity } from '@csc-fleet/common/service';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Journal, Redemption, Seal } from './journal.ts';
import { prepareSchema } from './schema.ts';
import { openSqliteJournal, type SqliteJournalOptions } from './sqlite-journal.ts';
import { texts } from './statements.ts';

const minute = 60 * 1000;
const day = 24 * 60 * minute;

let directory: string;
let now: Date;
const opened: Journal[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-journal-'));
  now = new Date('2026-03-20T10:00:00Z');
});

afterEach(async () => {
  for (const journal of opened.splice(0)) await journal.close();
  rmSync(directory, { recursive: true });
});

/** @param owner the process that it stands for */
const openJournal = (owner?: string, more: SqliteJournalOptions = {}): Journal => {
  const journal = openSqliteJournal(join(directory, 'journal.sqlite'), {
    clock: { now: () => now },
    ...(owner === undefined ? {} : { owner }),
    ...more,
  });
  opened.push(journal);
  return journal;
};

function redemption(name: string, overrides: Partial<Redemption> = {}): Redemption {
  const ids = { ticketId: `ticket-${name}`, executionId: `execution-${name}` };
  const times = { notBefore: now, expiresAt: new Date(+now + minute) };
  return {
    ...ids,
    ...times,
    draft: `draft-${name}`,
    bare: `bare-${name}`,
    redeemedAt: now,
    approvals: [],
    ...overrides,
  };
}

function sealAs(name: string, seen: ChainLink[] = []): Seal {
  return (link) => {
    seen.push(link);
    return { receiptJson: Buffer.from(name), receiptSha256: `sha-${name}`, outputLogLength: 7 };
  };
}

// As v0.1 of this project made it, with one execution of each kind.
const version1 = `
CREATE TABLE executions (execution_id TEXT PRIMARY KEY, ticket_id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
  draft TEXT NOT NULL, redeemed_at INTEGER NOT NULL, receipt_json BLOB, output_log_length INTEGER,
  acknowledged_at INTEGER) STRICT, WITHOUT ROWID;
CREATE INDEX executions_unacknowledged ON executions (owner) WHERE acknowledged_at IS NULL;
CREATE INDEX executions_acknowledged ON executions (acknowledged_at) WHERE acknowledged_at IS NOT NULL;
CREATE TABLE approvals (approval_id TEXT PRIMARY KEY, execution_id TEXT NOT NULL, expires_at INTEGER NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE TABLE receipt_chain (only INTEGER PRIMARY KEY CHECK (only = 1), head TEXT NOT NULL) STRICT;
INSERT INTO receipt_chain VALUES (1, 'sha-unnumbered');
INSERT INTO executions VALUES
  ('execution-running', 'ticket-running', '', 'draft', 1774000800000, NULL, NULL, NULL),
  ('execution-finished', 'ticket-finished', '', 'draft', 1774000800000, x'010203', 7, NULL),
  ('execution-delivered', 'ticket-delivered', '', '', 1774000800000, x'', 7, 1774000801000);
PRAGMA user_version = 1;
`;

describe('a journal', () => {
  const open = openJournal;

  it('redeems a ticket once', async () => {
    const journal = open();
    await journal.redeem(redemption('a'));
    const replayed = { code: 'TICKET_REPLAYED' };
    expect(journal.findObjection(redemption('a', { executionId: 'other' }))).toMatchObject(replayed);
    expect(journal.findObjection(redemption('a', { ticketId: 'other' }))).toMatchObject(replayed);
    expect(journal.findObjection(redemption('b'))).toBeUndefined();
    await expect(journal.redeem(redemption('a'))).rejects.toMatchObject({ code: 'TICKET_REPLAYED' });
  });

  it('spends nothing where its file was moved, ends what it has, and goes on once that is back', async () => {
    const journal = open();
    await journal.redeem(redemption('a'));
    const path = join(directory, 'journal.sqlite');
    renameSync(path, `${path}.away`);
    await expect.poll(() => journal.trouble()).toMatch(/moved or deleted/);
    const refused = { code: 'STORE_UNAVAILABLE', message: expect.stringContaining('put it back') };
    await expect(journal.redeem(redemption('b'))).rejects.toMatchObject(refused);
    expect((await journal.finish('execution-a', sealAs('a'))).executionId).toBe('execution-a');
    renameSync(`${path}.away`, path);
    await expect.poll(() => journal.trouble()).toBeUndefined();
    await journal.redeem(redemption('b'));
  });

  it('takes neither another ticket for the same execution nor another execution for the same ticket', async () => {
    const journal = open();
    await journal.redeem(redemption('a'));
    const other = redemption('a', { ticketId: 'ticket-b' });
    await expect(journal.redeem(other)).rejects.toMatchObject({ code: 'TICKET_REPLAYED' });
    const again = redemption('a', { executionId: 'execution-b' });
    await expect(journal.redeem(again)).rejects.toMatchObject({ code: 'TICKET_REPLAYED' });
  });

  it('lets one of many simultaneous redemptions win and does not undo the others', async () => {
    const journal = open();
    const all = [redemption('a'), redemption('a'), redemption('b'), redemption('a')];
    const results = await Promise.allSettled(all.map((one) => journal.redeem(one)));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
    expect(journal.unacknowledged().sort()).toEqual(['execution-a', 'execution-b']);
  });

  it('uses an approval up once, with the ticket or not at all', async () => {
    const journal = open();
    const approvals = [{ approvalId: 'approval-1', expiresAt: now }];
    await journal.redeem(redemption('a', { approvals }));
    const second = redemption('b', {
      approvals: [{ approvalId: 'approval-2', expiresAt: now }, ...approvals],
    });
    await expect(journal.redeem(second)).rejects.toMatchObject({ code: 'APPROVAL_INVALID' });
    expect(journal.findObjection(redemption('b'))).toBeUndefined();
    await journal.redeem(redemption('c', { approvals: [{ approvalId: 'approval-2', expiresAt: now }] }));
  });

  it('remembers after it was closed', async () => {
    const before = open();
    await before.redeem(redemption('a', { approvals: [{ approvalId: 'approval-1', expiresAt: now }] }));
    await before.close();
    opened.pop();
    const journal = open();
    await expect(journal.redeem(redemption('a'))).rejects.toMatchObject({ code: 'TICKET_REPLAYED' });
  });

  it('chains receipts and keeps exactly one for an execution', async () => {
    const journal = open();
    const seen: ChainLink[] = [];
    for (const name of ['a', 'b', 'c']) await journal.redeem(redemption(name));
    await journal.finish('execution-a', sealAs('first', seen));
    await Promise.all([
      journal.finish('execution-b', sealAs('second', seen)),
      journal.finish('execution-c', sealAs('third', seen)),
    ]);
    const again = await journal.finish('execution-a', sealAs('another', seen));
    expect(Buffer.from(again.receiptJson).toString()).toBe('first');
    expect(again.outputLogLength).toBe(7);
    const { epoch } = journal;
    expect(seen).toEqual([
      { epoch, sequence: 1, previousSha256: undefined },
      { epoch, sequence: 2, previousSha256: 'sha-first' },
      { epoch, sequence: 3, previousSha256: 'sha-second' },
    ]);
    expect(journal.head()).toEqual({ sequence: 3, receiptSha256: 'sha-third' });
  });

  it('does not finish what was never redeemed, and nothing that cannot be sealed', async () => {
    const journal = open();
    await expect(journal.finish('execution-x', sealAs('x'))).rejects.toMatchObject({
      code: 'EXECUTION_UNKNOWN',
    });
    await journal.redeem(redemption('a'));
    const broken = () => {
      throw new RangeError('no');
    };
    await expect(journal.finish('execution-a', broken)).rejects.toThrow(RangeError);
    const seen: ChainLink[] = [];
    await journal.finish('execution-a', sealAs('a', seen));
    expect(seen).toEqual([{ epoch: journal.epoch, sequence: 1, previousSha256: undefined }]);
  });

  it('gives what a dead process left to the next one, once', async () => {
    const dead = open('1 0 an earlier boot');
    for (const name of ['running', 'finished', 'delivered']) await dead.redeem(redemption(name));
    await dead.progress('execution-running', 'further');
    for (const name of ['finished', 'delivered']) await dead.finish(`execution-${name}`, sealAs(name));
    await dead.acknowledge('execution-delivered');
    const next = open();
    const adopted = await next.adopt();
    expect(adopted.running).toEqual([
      { executionId: 'execution-running', draft: 'further', bare: 'bare-running' },
    ]);
    expect(adopted.finished.map(({ executionId }) => executionId)).toEqual(['execution-finished']);
    expect(await open().adopt()).toEqual({ running: [], finished: [] });
  });

  it('gives what was not acknowledged when it was closed to the next one, in the same process too', async () => {
    const before = open();
    await before.redeem(redemption('a'));
    await before.finish('execution-a', sealAs('a'));
    await before.close();
    opened.pop();
    expect((await open().adopt()).finished).toHaveLength(1);
  });

  it('leaves alone what a living process runs', async () => {
    const child = spawn('sleep', ['60']);
    await once(child, 'spawn');
    const owner = processIdentity(child.pid ?? 0);
    await open(owner).redeem(redemption('a'));
    expect(await open().adopt()).toEqual({ running: [], finished: [] });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect((await open().adopt()).running).toHaveLength(1);
  });

  it('forgets what is acknowledged and over, and nothing else', async () => {
    const journal = open();
    await journal.redeem(redemption('old', { approvals: [{ approvalId: 'old', expiresAt: now }] }));
    await journal.redeem(
      redemption('kept', { approvals: [{ approvalId: 'kept', expiresAt: new Date(+now + 9 * day) }] }),
    );
    await journal.finish('execution-old', sealAs('old'));
    await journal.finish('execution-kept', sealAs('kept'));
    await journal.acknowledge('execution-old');
    expect(await journal.prune(now)).toBe(0);
    const [old, kept] = [redemption('old'), redemption('kept')];
    now = new Date(+now + 2 * day);
    expect(await journal.prune(now)).toBe(2);
    expect(journal.unacknowledged()).toEqual(['execution-kept']);
    expect(journal.findObjection(kept)).toMatchObject({ code: 'TICKET_REPLAYED' });
    const reuse = redemption('new', { approvals: [{ approvalId: 'kept', expiresAt: now }] });
    await expect(journal.redeem(reuse)).rejects.toMatchObject({ code: 'APPROVAL_INVALID' });
    expect(journal.findObjection(old)).toBeDefined();
  });

  it('forgets faster than what is to be forgotten comes, without being told to', async () => {
    const journal = open();
    const run = async (name: string): Promise<void> => {
      await journal.redeem(redemption(name));
      await journal.finish(`execution-${name}`, sealAs(name));
      // What nobody waits for shares the commit of what somebody does.
      await Promise.all([journal.acknowledge(`execution-${name}`), journal.progress('none', '')]);
    };
    for (let i = 0; i < 9; i++) await run(`early-${i}`);
    const early = redemption('early-0');
    now = new Date(+now + day);
    for (let i = 0; i < 3; i++) await run(`late-${i}`);
    expect(await journal.prune(now)).toBe(0);
    expect(journal.findObjection(early)).toMatchObject({ code: 'TICKET_REPLAYED' });
  });

  describe('what it has forgotten', () => {
    const approvals = [{ approvalId: 'approval-1', expiresAt: new Date('2026-03-20T10:00:30Z') }];

    /** Uses a ticket up, and forgets it; the clock is then as it was. */
    async function forget(journal: Journal, used: Redemption): Promise<void> {
      await journal.redeem(used);
      await journal.finish(used.executionId, sealAs('a'));
      await journal.acknowledge(used.executionId);
      const before = now;
      now = new Date(+now + day);
      expect(await journal.prune(now)).toBeGreaterThan(0);
      now = before;
    }

    it('is not usable again, even where the clock goes back', async () => {
      const journal = open();
      const used = redemption('a', { approvals });
      await forget(journal, used);
      await expect(journal.redeem(used)).rejects.toMatchObject({ code: 'TICKET_REPLAYED' });
      const unseen = redemption('b');
      await expect(journal.redeem(unseen)).rejects.toMatchObject({ code: 'TICKET_EXPIRED' });
      now = new Date(+now + 2 * minute);
      const again = redemption('c', { approvals });
      await expect(journal.redeem(again)).rejects.toMatchObject({ code: 'APPROVAL_INVALID' });
      await journal.redeem(redemption('d'));
    });

    it('is not usable again where a second person gave their approval its id and an earlier end', async () => {
      const journal = open();
      const theirs = {
        approval_id: 'one',
        scope: 'single_execution',
        expires_at: '2026-03-20T18:00:00Z',
      } as const;
      const approvals = [theirs, { ...theirs, expires_at: '2026-03-20T10:00:30Z' }];
      await journal.redeem(redemption('a', { approvals: toConsumed(approvals) }));
      now = new Date(+now + 60 * minute);
      await journal.prune(now);
      const again = redemption('b', { approvals: toConsumed([theirs]) });
      await expect(journal.redeem(again)).rejects.toMatchObject({ code: 'APPROVAL_INVALID' });
    });

    it('is not usable again under a new ticket for the same execution, nor after a restart', async () => {
      const before = open();
      await forget(before, redemption('a'));
      await before.close();
      opened.pop();
      now = new Date(+now + 9 * day);
      const fresh = redemption('a', { ticketId: 'ticket-new' });
      const journal = open();
      await expect(journal.redeem(fresh)).rejects.toMatchObject({ code: 'TICKET_REPLAYED' });
      await expect(journal.refuse({ ...fresh, refusedAt: now, seal: sealAs('x') })).rejects.toMatchObject({
        code: 'TICKET_REPLAYED',
      });
    });

    it('is not usable again by its ticket id, in a ticket for another execution', async () => {
      const journal = open();
      await forget(journal, redemption('a'));
      now = new Date(+now + 9 * day);
      const other = redemption('b', { ticketId: 'ticket-a' });
      await expect(journal.redeem(other)).rejects.toMatchObject({ code: 'TICKET_REPLAYED' });
    });

    it('does not close the host for longer than those tickets lived, whatever the clock said', async () => {
      const journal = open();
      await forget(journal, redemption('a'));
      now = new Date(+now + minute + 1);
      await journal.redeem(redemption('b'));
    });
  });

  it('knows nothing of tickets from before it was begun', async () => {
    const before = redemption('before', { notBefore: new Date(+now - 1) });
    const journal = open();
    await expect(journal.redeem(before)).rejects.toMatchObject({ code: 'TICKET_EXPIRED' });
    await journal.redeem(redemption('after'));
  });

  it('has refusals in the chain of receipts, in both their forms, and is named for ever', async () => {
    const first = open();
    const seen: ChainLink[] = [];
    await first.redeem(redemption('a'));
    await first.finish('execution-a', sealAs('a', seen));
    const seal = (link: ChainLink) => ({ ...sealAs('b', seen)(link), originalJson: Buffer.from('original') });
    const refused = await first.refuse({ ...redemption('b'), refusedAt: now, seal });
    const { receiptJson, originalJson = [] } = refused;
    expect([receiptJson, originalJson].map((it) => Buffer.from(it).toString())).toEqual(['b', 'original']);
    await first.close();
    opened.pop();
    const journal = open();
    expect(journal.receiptOf('execution-b')).toEqual({
      receiptJson: new Uint8Array(refused.receiptJson),
      originalJson: new Uint8Array(Buffer.from('original')),
    });
    await journal.refuse({ ...redemption('c'), refusedAt: now, seal: sealAs('c', seen) });
    const { epoch } = journal;
    expect(epoch).toMatch(/^[0-9a-f]{32}$/);
    expect(seen).toEqual([
      { epoch, sequence: 1, previousSha256: undefined },
      { epoch, sequence: 2, previousSha256: 'sha-a' },
      { epoch, sequence: 3, previousSha256: 'sha-b' },
    ]);
    const failing = () => {
      throw new Error('no signature');
    };
    await expect(journal.refuse({ ...redemption('d'), refusedAt: now, seal: failing })).rejects.toThrow();
    expect(journal.head()).toEqual({ sequence: 3, receiptSha256: 'sha-c' });
    expect(journal.findObjection(redemption('d'))).toBeUndefined();
  });

  it('keeps a refusal like a receipt, and spends the ticket on it', async () => {
    const dead = open('1 0 an earlier boot');
    const refusal = { ...redemption('a'), refusedAt: now, seal: sealAs('no') };
    await dead.refuse(refusal);
    await expect(dead.redeem(redemption('a'))).rejects.toMatchObject({ code: 'TICKET_REPLAYED' });
    await expect(dead.refuse({ ...refusal, ticketId: 'ticket-b' })).rejects.toMatchObject({
      code: 'TICKET_REPLAYED',
    });
    const journal = open();
    expect((await journal.adopt()).finished).toEqual([
      { executionId: 'execution-a', receiptLength: 2, outputLogLength: 0 },
    ]);
    expect(Buffer.from(journal.receiptOf('execution-a')?.receiptJson ?? []).toString()).toBe('no');
    await journal.acknowledge('execution-a');
    expect(journal.receiptOf('execution-a')).toBeUndefined();
    expect(journal.unacknowledged()).toEqual([]);
  });
});

describe('the SQLite journal', () => {
  it('says STORE_UNAVAILABLE where it cannot write', async () => {
    const path = join(directory, 'journal.sqlite');
    const journal = openSqliteJournal(path, { busyTimeoutMs: 0, clock: { now: () => now } });
    opened.push(journal);
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    await expect(journal.redeem(redemption('a'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    other.close();
    await journal.redeem(redemption('a'));
  });

  it('takes over a journal of version 1', async () => {
    const path = join(directory, 'journal.sqlite');
    const database = new DatabaseSync(path);
    database.exec(version1);
    database.close();
    const journal = openSqliteJournal(path, { clock: { now: () => now } });
    opened.push(journal);
    const replayed = { code: 'TICKET_REPLAYED' };
    for (const name of ['running', 'finished', 'delivered'])
      await expect(journal.redeem(redemption(name))).rejects.toMatchObject(replayed);
    expect(await journal.adopt()).toEqual({
      running: [{ executionId: 'execution-running', draft: 'draft', bare: '' }],
      finished: [{ executionId: 'execution-finished', receiptLength: 3, outputLogLength: 7 }],
    });
    // It was there before: tickets of a moment ago are not a lost journal's, but those of two days ago were forgotten.
    await journal.redeem(redemption('recent', { notBefore: new Date(+now - 1) }));
    expect(journal.head()).toBeUndefined();
    const seen: ChainLink[] = [];
    await journal.finish('execution-running', sealAs('running', seen));
    expect(seen).toEqual([{ epoch: journal.epoch, sequence: 1, previousSha256: 'sha-unnumbered' }]);
    const forgotten = redemption('forgotten', { expiresAt: new Date(+now - 2 * day) });
    await expect(journal.redeem(forgotten)).rejects.toMatchObject({ code: 'TICKET_EXPIRED' });
    now = new Date(+now + day);
    expect(await journal.prune(now)).toBe(1);
    await expect(journal.redeem(redemption('delivered'))).rejects.toMatchObject(replayed);
  });

  it('refuses a journal of a later version, and what is no journal', () => {
    const path = join(directory, 'journal.sqlite');
    const database = new DatabaseSync(path);
    database.exec('PRAGMA user_version = 99');
    database.close();
    expect(() => openSqliteJournal(path)).toThrow(expect.objectContaining({ code: 'STORE_UNAVAILABLE' }));
    expect(() => openSqliteJournal(directory)).toThrow(
      expect.objectContaining({ code: 'STORE_UNAVAILABLE' }),
    );
  });
});

describe('the file of a journal', () => {
  it('is read no further than to what is asked for, but for what ends an epoch', () => {
    const database = new DatabaseSync(':memory:');
    prepareSchema(database, now);
    const scanned = Object.entries(texts).filter(([, text]) =>
      database
        .prepare(`EXPLAIN QUERY PLAN ${text}`)
        .all()
        .some(({ detail }) =>
          /^SCAN (?!memory|receipt_chain|.* INDEX executions_(?:unack|not_over))/.test(String(detail)),
        ),
    );
    database.close();
    expect(scanned.map(([name]) => name)).toEqual(['endUnfinished']);
  });

  it('is asked by no run for what SQLite makes a table of its own for', () => {
    const database = new DatabaseSync(':memory:');
    prepareSchema(database, now);
    // https://www.sqlite.org/opcode.html: each has a cache of pages of its own.
    const making = Object.entries(texts).filter(([, text]) =>
      database
        .prepare(`EXPLAIN ${text}`)
        .all()
        .some(({ opcode }) => /^(OpenEphemeral|OpenAutoindex|SorterOpen)$/.test(String(opcode))),
    );
    database.close();
    // At start, at the end, and where an epoch ends.
    expect(making.map(([name]) => name)).toEqual(['unacknowledge', 'adopt', 'disown']);
  });

  it('is refused with how to restore it, and left alone, where it is damaged: it would run again what it has forgotten', async () => {
    const path = join(directory, 'torn.sqlite');
    const journal = openSqliteJournal(path, { clock: { now: () => now } });
    await journal.redeem(redemption('one'));
    await journal.close();
    const harms = [
      () => truncateSync(path, 2 * 4096),
      () => writeFileSync(path, 'no database'),
      () => truncateSync(path),
    ];
    for (const harm of harms) {
      harm();
      const was = readFileSync(path);
      expect(() => openSqliteJournal(path)).toThrow(
        expect.objectContaining({
          code: 'STORE_UNAVAILABLE',
          message: expect.stringMatching(/nothing was changed.*csc restore executor/),
        }),
      );
      expect(readFileSync(path)).toEqual(was);
    }
  });
});

describe('a journal and the disk', () => {
  it('tells nobody what is not on disk, and is lost where the disk refuses that', async () => {
    let { promise, resolve, reject } = Promise.withResolvers<void>();
    const lost: unknown[] = [];
    const journal = openJournal(undefined, { sync: () => promise, onLost: (error) => lost.push(error) });
    const turns = async (): Promise<void> => {
      for (let turn = 0; turn < 20; turn += 1) await setImmediate();
    };
    const said: string[] = [];
    const redeeming = journal.redeem(redemption('a')).then(() => said.push('redeemed'));
    await turns();
    expect(said).toEqual([]);
    // Refused early, though a power cut may yet take that away: nothing has run then.
    expect(journal.findObjection(redemption('a'))).toMatchObject({ code: 'TICKET_REPLAYED' });
    resolve();
    await redeeming;
    ({ promise, resolve, reject } = Promise.withResolvers<void>());
    const finishing = journal.finish('execution-a', sealAs('a'));
    await turns();
    expect([journal.head(), journal.receiptOf('execution-a')]).toEqual([undefined, undefined]);
    resolve();
    await finishing;
    expect(journal.head()).toEqual({ sequence: 1, receiptSha256: 'sha-a' });
    expect(journal.receiptOf('execution-a')).toBeDefined();
    ({ promise, resolve, reject } = Promise.withResolvers<void>());
    // It may be there after a restart: a gate that is told that it is not has it run elsewhere.
    const told = (): void => void said.push('told what nobody knows');
    journal.redeem(redemption('b')).then(told, told);
    await turns();
    reject(Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' }));
    await turns();
    expect(said).toEqual(['redeemed']);
    promise = Promise.resolve();
    await expect(journal.redeem(redemption('c'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(lost).toHaveLength(1);
  });

  // Another writer keeps the disk from it: whoever waited for that here would never see it end.
  it('holds up nobody while it waits for the disk', async () => {
    const journal = openJournal();
    const other = new DatabaseSync(join(directory, 'journal.sqlite'));
    other.exec('BEGIN IMMEDIATE');
    let isDurable = false;
    const redeeming = journal.redeem(redemption('a')).then(() => {
      isDurable = true;
    });
    for (let turn = 0; turn < 100; turn += 1) await setImmediate();
    expect([isDurable, journal.unacknowledged()]).toEqual([false, []]);
    other.exec('COMMIT');
    other.close();
    await redeeming;
    expect(journal.unacknowledged()).toEqual(['execution-a']);
  });

  it('has whoever waits for another writer wait once, however many they are', async () => {
    const journal = openJournal(undefined, { busyTimeoutMs: 20 });
    const other = new DatabaseSync(join(directory, 'journal.sqlite'));
    other.exec('BEGIN IMMEDIATE');
    const all = ['a', 'b', 'c'].map((name) => journal.redeem(redemption(name)));
    const letGo = all[0]?.catch(() => other.exec('COMMIT'));
    const results = await Promise.allSettled(all);
    await letGo;
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await journal.redeem(redemption('d'));
    expect(journal.unacknowledged()).toEqual(['execution-d']);
    other.close();
  });

  it('has all that it has told after a power cut, wherever that tears its log', async () => {
    const path = join(directory, 'journal.sqlite');
    let disk = Promise.withResolvers<void>();
    const journal = openJournal(undefined, { sync: () => disk.promise });
    const take = (): void => {
      const { resolve } = disk;
      disk = Promise.withResolvers<void>();
      resolve();
    };
    const turns = async (): Promise<void> => {
      for (let turn = 0; turn < 12; turn += 1) await setImmediate();
    };
    // What there was of the log before it was begun anew stands behind what there is.
    const old = journal.redeem(redemption('old', { draft: 'x'.repeat(30_000) }));
    await turns();
    take();
    await old;
    const other = new DatabaseSync(path);
    other.exec('PRAGMA wal_checkpoint(RESTART)');
    const told: { redeemed: string[]; sequence: number } = { redeemed: ['old'], sequence: 0 };
    const steps: [work: () => Promise<unknown>, tell: () => void][] = [
      [() => journal.redeem(redemption('a')), () => told.redeemed.push('a')],
      [() => journal.finish('execution-a', sealAs('a')), () => (told.sequence = 1)],
      [() => journal.redeem(redemption('b', { draft: 'y'.repeat(9_000) })), () => told.redeemed.push('b')],
      [() => journal.finish('execution-old', sealAs('old')), () => (told.sequence = 2)],
    ];
    const lengthOfLog = () => 32 + 4120 * Number(other.prepare('PRAGMA wal_checkpoint(NOOP)').get()?.['log']);
    let cuts = 0;
    for (const [step, [work, tell]] of steps.entries()) {
      const synced = step === 0 ? 0 : lengthOfLog();
      const working = work();
      await turns();
      const end = lengthOfLog();
      const torn = join(directory, `torn-${step}`);
      mkdirSync(torn);
      // Not by this process, which would lose its locks on them.
      spawnSync('cp', [path, `${path}-wal`, torn]);
      for (let cut = synced; cut <= end; cut += 3301) {
        for (const isCut of [true, false]) {
          const after = join(directory, 'after');
          cpSync(torn, after, { recursive: true });
          const log = join(after, 'journal.sqlite-wal');
          // Cut off there, or there and no longer what was written, with what comes after it.
          if (isCut) truncateSync(log, cut);
          else writeFileSync(log, readFileSync(log).fill(0, cut, Math.min(cut + 700, statSync(log).size)));
          const found = openSqliteJournal(join(after, 'journal.sqlite'), { clock: { now: () => now } });
          for (const name of told.redeemed)
            expect(found.findObjection(redemption(name))).toMatchObject({ code: 'TICKET_REPLAYED' });
          const sequence = found.head()?.sequence ?? 0;
          expect([told.sequence, told.sequence + 1]).toContain(sequence);
          if (told.sequence > 0) expect(found.receiptOf('execution-a')).toBeDefined();
          await found.redeem(redemption('after'));
          await found.finish('execution-after', sealAs('after'));
          expect(found.head()?.sequence).toBe(sequence + 1);
          await found.close();
          rmSync(after, { recursive: true });
          cuts += 1;
        }
      }
      take();
      await working;
      tell();
    }
    other.close();
    expect(cuts).toBeGreaterThan(20);
    take();
    setTimeout(take, 50);
  });
});

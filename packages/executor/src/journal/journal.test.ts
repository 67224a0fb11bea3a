import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Journal, Redemption, Seal } from './journal.ts';
import { processIdentity } from './process-identity.ts';
import { openSqliteJournal } from './sqlite-journal.ts';

const day = 24 * 60 * 60 * 1000;

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

// Every implementation of Journal goes here; `owner` is the process that it stands for.
const implementations: readonly [string, (owner?: string) => Journal][] = [
  [
    'sqlite',
    (owner) =>
      openSqliteJournal(join(directory, 'journal.sqlite'), {
        clock: { now: () => now },
        ...(owner === undefined ? {} : { owner }),
      }),
  ],
];

function redemption(name: string, overrides: Partial<Redemption> = {}): Redemption {
  const ids = { ticketId: `ticket-${name}`, executionId: `execution-${name}` };
  return { ...ids, draft: `draft-${name}`, redeemedAt: now, approvals: [], ...overrides };
}

function sealAs(name: string, seen: (string | undefined)[] = []): Seal {
  return (previous) => {
    seen.push(previous);
    return { receiptJson: Buffer.from(name), receiptSha256: `sha-${name}`, outputLogLength: 7 };
  };
}

describe.each(implementations)('journal: %s', (_name, create) => {
  const open = (owner?: string): Journal => {
    const journal = create(owner);
    opened.push(journal);
    return journal;
  };

  it('redeems a ticket once', async () => {
    const journal = open();
    await journal.redeem(redemption('a'));
    expect(journal.isRedeemed('ticket-a', 'other')).toBe(true);
    expect(journal.isRedeemed('other', 'execution-a')).toBe(true);
    expect(journal.isRedeemed('ticket-b', 'execution-b')).toBe(false);
    await expect(journal.redeem(redemption('a'))).rejects.toMatchObject({ code: 'TICKET_REPLAYED' });
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
    expect(journal.isRedeemed('ticket-b', 'execution-b')).toBe(false);
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
    const seen: (string | undefined)[] = [];
    for (const name of ['a', 'b', 'c']) await journal.redeem(redemption(name));
    await journal.finish('execution-a', sealAs('first', seen));
    await Promise.all([
      journal.finish('execution-b', sealAs('second', seen)),
      journal.finish('execution-c', sealAs('third', seen)),
    ]);
    const again = await journal.finish('execution-a', sealAs('another', seen));
    expect(Buffer.from(again.receiptJson).toString()).toBe('first');
    expect(again.outputLogLength).toBe(7);
    expect(seen).toEqual([undefined, 'sha-first', 'sha-second']);
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
    const seen: (string | undefined)[] = [];
    await journal.finish('execution-a', sealAs('a', seen));
    expect(seen).toEqual([undefined]);
  });

  it('gives what a dead process left to the next one, once', async () => {
    const dead = open('1 0 an earlier boot');
    for (const name of ['running', 'finished', 'delivered']) await dead.redeem(redemption(name));
    await dead.progress('execution-running', 'further');
    for (const name of ['finished', 'delivered']) await dead.finish(`execution-${name}`, sealAs(name));
    await dead.acknowledge('execution-delivered');
    const next = open();
    const adopted = await next.adopt();
    expect(adopted.running).toEqual([{ executionId: 'execution-running', draft: 'further' }]);
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

  it('forgets what is long acknowledged or expired, and nothing else', async () => {
    const journal = open();
    await journal.redeem(redemption('old', { approvals: [{ approvalId: 'old', expiresAt: now }] }));
    await journal.redeem(
      redemption('kept', { approvals: [{ approvalId: 'kept', expiresAt: new Date(+now + 9 * day) }] }),
    );
    await journal.finish('execution-old', sealAs('old'));
    await journal.finish('execution-kept', sealAs('kept'));
    await journal.acknowledge('execution-old');
    expect(await journal.prune(now)).toBe(0);
    now = new Date(+now + 2 * day);
    expect(await journal.prune(now)).toBe(2);
    expect(journal.isRedeemed('ticket-old', 'execution-old')).toBe(false);
    expect(journal.isRedeemed('ticket-kept', 'execution-kept')).toBe(true);
    const reuse = redemption('new', { approvals: [{ approvalId: 'kept', expiresAt: now }] });
    await expect(journal.redeem(reuse)).rejects.toMatchObject({ code: 'APPROVAL_INVALID' });
  });
});

describe('the SQLite journal', () => {
  it('says STORE_UNAVAILABLE where it cannot write', async () => {
    const path = join(directory, 'journal.sqlite');
    const journal = openSqliteJournal(path, { busyTimeoutMs: 0 });
    opened.push(journal);
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    await expect(journal.redeem(redemption('a'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    other.close();
    await journal.redeem(redemption('a'));
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

describe('processIdentity', () => {
  it('names this process, always alike, and no process that is gone', async () => {
    expect(processIdentity(process.pid)).toBe(processIdentity(process.pid));
    const child = spawn('true');
    await once(child, 'exit');
    expect(processIdentity(child.pid ?? 0)).toBeUndefined();
  });
});

import {
  appendFileSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
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
import { createSigner, generateKeyPair, type Signer } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { type ChainLink, sealChained, signChainHead } from '@csc-fleet/common/evidence';
import { type ReceiptV02, receiptSha256 } from '@csc-fleet/common/receipt';
import { lockStateDirectory } from '@csc-fleet/sandbox/host';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { identity, openWorkbench } from '@csc-fleet/test-kit/executor/workbench';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type Journal, openSqliteJournal } from '../journal/index.ts';
import { beginNewEpoch } from '../service/new-epoch.ts';
import { readReceiptSigner } from '../service/signing-key.ts';
import { Archive, reconcileArchive, withArchive } from './archive.ts';
import { archiveDirectory, readArchive } from './segments.ts';

const minute = 60_000;
const signer = createSigner(generateKeyPair().seed, 'host-1-key');

let directory: string;
let receipts: string;
let now: Date;
let maxBytes: number | undefined;
let journal: Journal;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'csc-archive-'));
  receipts = join(directory, 'receipts');
  now = new Date('2026-11-27T10:00:00Z');
  maxBytes = undefined;
  journal = await open();
});

afterEach(async () => {
  await journal.close();
  rmSync(directory, { recursive: true });
});

const clock = { now: () => now };
const journalFile = () => join(directory, 'journal.sqlite');
const segment = () => join(receipts, '2026-11.log');

async function open(): Promise<Journal> {
  const plain = openSqliteJournal(journalFile(), { clock });
  const archive = Archive.open(receipts, clock);
  await reconcileArchive(archive, plain);
  return withArchive(plain, archive, { days: 30, maxBytes });
}

async function reopened(between: () => void = () => undefined): Promise<void> {
  await journal.close();
  between();
  journal = await open();
}

function receipt(name: string): ReceiptV02 {
  return {
    receipt_version: 'csc.receipt.v0.2',
    contract_id: name,
    execution_id: name,
    contract_sha256: 'a'.repeat(64),
    status: 'blocked',
    started_at: toTimestamp(now),
    ended_at: toTimestamp(now),
    policy_profile: 'tests',
    executor_id: 'host-1',
    commands: [],
    ended: 'refused',
    approvals: [],
  };
}

const use = (name: string) => ({
  ticketId: `ticket-${name}`,
  executionId: name,
  notBefore: now,
  expiresAt: new Date(+now + minute),
});
const sealing = (version: ReceiptV02['receipt_version'] | 'csc.receipt.v0.1') => ({ version, signer, now });

async function run(name: string, version: 'csc.receipt.v0.1' | 'csc.receipt.v0.2' = 'csc.receipt.v0.2') {
  await redeem(name);
  return finish(name, version);
}

const redeem = (name: string) =>
  journal.redeem({ ...use(name), draft: '', bare: '', redeemedAt: now, approvals: [] });

function finish(name: string, version: 'csc.receipt.v0.1' | 'csc.receipt.v0.2' = 'csc.receipt.v0.2') {
  const seal = (link: ChainLink) => ({
    ...sealChained(receipt(name), sealing(version), link),
    outputLogLength: 0,
  });
  return journal.finish(name, seal);
}

async function refuse(name: string) {
  const seal = (link: ChainLink) => sealChained(receipt(name), sealing('csc.receipt.v0.2'), link);
  return journal.refuse({ ...use(name), refusedAt: now, seal });
}

const archived = () => [...readArchive(receipts)].map((it) => it.receipt);
const names = () => archived().map((it) => it.execution_id);

describe('the archive of a host’s receipts', () => {
  it('has every outcome in the order of the chain, in the form that the chain has, after the gate has it', async () => {
    await run('a');
    await refuse('b');
    await run('c', 'csc.receipt.v0.1');
    // Not in this order.
    for (const name of ['c', 'a', 'b']) await journal.acknowledge(name);
    const chain = archived();
    expect(chain.map(({ execution_id: id, sequence }) => [id, sequence])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ]);
    expect(chain.map((it) => it.previous_receipt_sha256)).toEqual([
      undefined,
      ...chain.slice(0, -1).map(receiptSha256),
    ]);
    expect(journal.unacknowledged()).toEqual([]);
    expect(statSync(segment()).mode & 0o077).toBe(0);
    await reopened();
    await run('d');
    await journal.acknowledge('d');
    expect(names()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('keeps what the gate has acknowledged in the journal until it is certainly on this disk', async () => {
    await run('a');
    renameSync(receipts, `${receipts}-gone`);
    writeFileSync(receipts, '');
    await expect(journal.acknowledge('a')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(journal.unacknowledged()).toEqual(['a']);
    rmSync(receipts);
    renameSync(`${receipts}-gone`, receipts);
    await journal.acknowledge('a');
    expect(journal.unacknowledged()).toEqual([]);
    expect(names()).toEqual(['a']);
  });

  it.each<[string, (path: string, whole: number) => void]>([
    ['half a record', (path) => truncateSync(path, statSync(path).size - 7)],
    ['a length and nothing', (path, whole) => truncateSync(path, whole + 4)],
    ['half a length', (path, whole) => truncateSync(path, whole + 2)],
    [
      'zeros for what was not written',
      (path, whole) => {
        const { size } = statSync(path);
        truncateSync(path, whole + 4);
        appendFileSync(path, Buffer.alloc(size - whole - 4));
      },
    ],
    ['nothing', (path, whole) => truncateSync(path, whole)],
  ])('after a power cut has left %s, is made whole from the journal', async (_what, cut) => {
    await run('a');
    await journal.acknowledge('a');
    const whole = statSync(segment()).size;
    await run('b');
    await refuse('c');
    await reopened(() => cut(segment(), whole));
    expect(names()).toEqual(['a', 'b', 'c']);
    await run('d');
    await journal.acknowledge('d');
    expect(names()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('takes in what comes next where its files were deleted or moved from under it, and has nothing acknowledged before', async () => {
    await run('a');
    await journal.acknowledge('a');
    rmSync(segment());
    await run('b');
    await journal.acknowledge('b');
    expect(names()).toEqual(['b']);
    renameSync(receipts, `${receipts}.away`);
    await run('c');
    await expect(journal.acknowledge('c')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(journal.unacknowledged()).toEqual(['c']);
    renameSync(`${receipts}.away`, receipts);
    await journal.acknowledge('c');
    expect(names()).toEqual(['b', 'c']);
  });

  it('is made whole from the other copy in the journal where the disk has damaged the one', async () => {
    await run('a');
    await run('b');
    await reopened(() => {
      rmSync(segment());
      const database = new DatabaseSync(journalFile());
      database.exec("UPDATE executions SET receipt_json = x'00' WHERE execution_id = 'b'");
      database.close();
    });
    expect(names()).toEqual(['a', 'b']);
  });

  it('shows a journal that is older than itself, which begins a new epoch and forgets no ticket', async () => {
    await run('a');
    await journal.acknowledge('a');
    const copy = join(directory, 'copy.sqlite');
    const { epoch } = journal;
    await reopened(() => copyFileSync(journalFile(), copy));
    expect(journal.epoch).toBe(epoch);
    await run('b');
    await journal.acknowledge('b');
    const used = use('b');
    now = new Date(+now + 1000);
    await reopened(() => {
      copyFileSync(copy, journalFile());
      for (const end of ['-wal', '-shm']) rmSync(`${journalFile()}${end}`, { force: true });
    });
    expect(journal.epoch).not.toBe(epoch);
    expect(journal.findObjection(used)).toMatchObject({ code: 'TICKET_EXPIRED' });
    await run('c');
    await journal.acknowledge('c');
    const [, , last] = archived();
    expect([last?.executor_epoch, last?.sequence]).toEqual([journal.epoch, 1]);
    expect(last).not.toHaveProperty('previous_receipt_sha256');
  });

  it('has no second outcome signed of what a restored journal takes for running, nor a clock that was set back count', async () => {
    for (const name of ['a', 'cut-off']) await redeem(name);
    const copy = join(directory, 'copy.sqlite');
    await reopened(() => copyFileSync(journalFile(), copy));
    const began = now;
    now = new Date(+now + 10 * minute);
    await finish('a');
    await journal.acknowledge('a');
    const submitted = now;
    now = new Date(+began + minute);
    await reopened(() => {
      copyFileSync(copy, journalFile());
      for (const end of ['-wal', '-shm']) rmSync(`${journalFile()}${end}`, { force: true });
    });
    expect((await journal.adopt()).running).toEqual([{ executionId: 'cut-off', draft: '', bare: '' }]);
    expect(journal.bornAt()).toEqual(submitted);
  });

  it('keeps once what was there before a record that a power cut left without its content', async () => {
    await run('a');
    await reopened();
    const whole = statSync(segment()).size;
    await run('b');
    await reopened(() => {
      const { size } = statSync(segment());
      truncateSync(segment(), whole + 4);
      appendFileSync(segment(), Buffer.alloc(size - whole - 4));
    });
    expect(names()).toEqual(['a', 'b']);
  });

  it('shows a copy that is restored a second time, after another epoch has begun', async () => {
    await run('a');
    await journal.acknowledge('a');
    const copy = join(directory, 'copy.sqlite');
    const { epoch } = journal;
    await reopened(() => copyFileSync(journalFile(), copy));
    const restore = () =>
      reopened(() => {
        copyFileSync(copy, journalFile());
        for (const end of ['-wal', '-shm']) rmSync(`${journalFile()}${end}`, { force: true });
      });
    await run('b');
    await journal.acknowledge('b');
    const used = use('b');
    now = new Date(+now + 1000);
    await restore();
    await run('c');
    await journal.acknowledge('c');
    now = new Date(+now + 1000);
    await restore();
    expect(journal.epoch).not.toBe(epoch);
    expect(journal.findObjection(used)).toMatchObject({ code: 'TICKET_EXPIRED' });
  });

  it('throws nothing away of a segment that is damaged in its middle', async () => {
    for (const id of ['a', 'b', 'c']) {
      await run(id);
      await journal.acknowledge(id);
    }
    const receipts = join(directory, 'receipts');
    const [name = ''] = readdirSync(receipts);
    const whole = readFileSync(join(receipts, name));
    const damaged = Buffer.from(whole);
    damaged.writeUInt32BE(0, 0);
    await reopened(() => writeFileSync(join(receipts, name), damaged));
    const kept = readdirSync(receipts).filter((it) => it.startsWith(`${name}.damaged-`));
    expect(kept).toHaveLength(1);
    expect(readFileSync(join(receipts, kept[0] ?? ''))).toEqual(damaged);
  });

  it('goes by whole months, once the last day of each is old enough, and not by a clock that goes back', async () => {
    await run('a');
    now = new Date('2026-12-31T23:59:59Z');
    await run('b');
    await journal.acknowledge('b');
    now = new Date('2026-11-28T00:00:00Z');
    await run('c');
    for (const name of ['a', 'c']) await journal.acknowledge(name);
    expect(names()).toEqual(['a', 'b', 'c']);
    await journal.prune(new Date('2026-12-30T00:00:00Z'));
    now = new Date('2027-01-30T00:00:00Z');
    while ((await journal.prune(now)) > 0) {}
    expect(names()).toEqual(['a', 'b', 'c']);
    now = new Date('2027-01-31T00:00:00Z');
    while ((await journal.prune(now)) > 0) {}
    expect(names()).toEqual([]);
  });

  it('goes before its time where more is kept than may be, the oldest months first, and never the newest', async () => {
    for (const [month, id] of ['a', 'b', 'c'].entries()) {
      now = new Date(Date.UTC(2026, 10 + month, 28));
      await run(id);
      await journal.acknowledge(id);
    }
    expect(names()).toEqual(['a', 'b', 'c']);
    now = new Date('2026-12-05T00:00:00Z');
    const receipts = join(directory, 'receipts');
    const sizes = readdirSync(receipts).map((name) => statSync(join(receipts, name)).size);
    for (const [bytes, kept] of [
      [sizes.reduce((sum, it) => sum + it, 0), ['a', 'b', 'c']],
      [2 * Math.max(...sizes), ['b', 'c']],
      [1, ['c']],
    ] as const) {
      maxBytes = bytes;
      await reopened(() => undefined);
      while ((await journal.prune(now)) > 0) {}
      expect(names()).toEqual(kept);
    }
  });
});

it('an executor that is told to keep its receipts has them after its gate has', async () => {
  const bench = await openWorkbench({ executor: { receiptRetentionDays: 400 } });
  onTestFinished(() => bench.close());
  const ids = [makeContract(bench.workspace, [{}]), makeContract(bench.workspace, [{ network: 'full' }])].map(
    (contract) => bench.gate.offer(contract, bench.policy),
  );
  for (const id of ids) await bench.gate.receipt(id);
  await bench.restart();
  const kept = [...readArchive(join(bench.stateDir, archiveDirectory))].map((it) => it.receipt.execution_id);
  expect(kept.sort()).toEqual(ids.sort());
});

describe('a host whose whole disk is older than it is', () => {
  it('sees that by what it has signed itself, whoever brings it, and begins a new epoch', async () => {
    const bench = await openWorkbench();
    onTestFinished(() => bench.close());
    const { gate } = bench;
    await gate.receipt(gate.offer(makeContract(bench.workspace, [{}]), bench.policy));
    const signer = readReceiptSigner('executor-1', bench.stateDir);
    const mallory = createSigner(generateKeyPair().seed, signer.keyId);
    const hello = () => gate.all('hello').at(-1)?.epoch ?? '';
    const epoch = hello();
    const told = (sequence: number, over: { by?: Signer; of?: string; epoch?: string; at?: Date } = {}) => {
      const place = { epoch: over.epoch ?? epoch, sequence, receiptSha256: 'a'.repeat(64) };
      const { by = signer, of = identity, at = new Date() } = over;
      gate.chainHead = signChainHead(of, place, by, at);
      gate.connect(bench.executor);
    };
    const longAgo = new Date(Date.now() - 2 * 3_600_000);
    told(9, { by: mallory });
    told(9, { of: 'spiffe://csc.local/executor/other' });
    told(0 + 1, { epoch: 'b'.repeat(32), at: longAgo });
    gate.chainHead = Buffer.alloc(0);
    gate.connect(bench.executor);
    const kept = await gate.receipt(gate.offer(makeContract(bench.workspace, [{}]), bench.policy));
    gate.connect(bench.executor);
    expect([kept.status, hello()]).toEqual(['success', epoch]);
    const before = gate.mint(makeContract(bench.workspace, [{}]), bench.policy);
    told(9);
    gate.chainHead = Buffer.alloc(0);
    await expect
      .poll(() => {
        gate.connect(bench.executor);
        return hello();
      })
      .not.toBe(epoch);
    // What was minted before is for an epoch that is over, and the next runs.
    gate.send({ $case: 'offer', value: before });
    expect((await gate.next('refused', before.executionId)).message).toContain(
      'state directory is another one since',
    );
    const next = await gate.receipt(gate.offer(makeContract(bench.workspace, [{}]), bench.policy));
    expect(next).toMatchObject({ status: 'success', executor_epoch: hello() });
    // Its clock was set back with it: what it signed says how late it was by then.
    const second = hello();
    told(9, { epoch: second, at: new Date(Date.now() + 3_600_000) });
    gate.chainHead = Buffer.alloc(0);
    await expect
      .poll(() => {
        gate.connect(bench.executor);
        return hello();
      })
      .not.toBe(second);
    const early = gate.offer(makeContract(bench.workspace, [{}]), bench.policy);
    expect((await gate.next('refused', early)).reason).toBe('TICKET_EXPIRED');
  });

  it('begins one at its owner’s word, who has restored it, and not while it runs', async () => {
    await run('a');
    const { epoch } = journal;
    const running = lockStateDirectory(directory);
    await expect(beginNewEpoch(directory)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    running.release();
    await redeem('under-way');
    await journal.close();
    // A machine that was set back has the clock of that time: what was submitted since would be younger than the epoch.
    now = new Date(+now - minute);
    await expect(beginNewEpoch(directory, clock)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('set it right first'),
    });
    const { before, after } = await beginNewEpoch(directory);
    now = new Date(Date.now() + minute);
    journal = await open();
    expect([before, journal.epoch]).toEqual([epoch, after]);
    // What it had at the end is in the time that is forgotten.
    expect((await journal.adopt()).running).toEqual([]);
    expect(after).not.toBe(before);
    expect(journal.head()).toBeUndefined();
    expect(journal.bornAt().getTime()).toBeGreaterThan(new Date('2026-11-27T10:00:00Z').getTime());
    await run('b');
    await journal.acknowledge('b');
    expect(archived().map(({ sequence, executor_epoch: of }) => [sequence, of])).toEqual([
      [1, before],
      [1, after],
    ]);
    await expect(beginNewEpoch(join(directory, 'nowhere'))).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
    });
  });
});

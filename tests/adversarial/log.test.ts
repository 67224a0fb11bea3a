// A gate that is taken over, with the key of its log, shows its clients, its witness and its auditor a log that it should not:
// another one than before, a shorter one, one without a receipt. Everybody sees it for himself.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { emptyRoot, formatVkey } from '@csc-fleet/common/tlog';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { toPrincipal } from '@csc-fleet/test-kit/gate/local-client';
import { logOf } from '@csc-fleet/test-kit/gate/log-of-records';
import {
  emptyDirectory,
  exportedReceipts,
  logFilesIn,
  logInvalid,
  logKey,
  logMemory,
  logSigner,
  placeOf,
  sizeOf,
  stagesOfFile,
  treeOf,
} from '@csc-fleet/test-kit/gate/logged-gate';
import { agent } from '@csc-fleet/test-kit/gate/test-gate';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { walkLog } from '../../packages/cli/src/evidence/walk-log.ts';
import { type ProvePorts, proveReceipts } from '../../packages/gate/src/log/prove.ts';
import { TileFiles } from '../../packages/gate/src/log/tile-files.ts';

const stage = stagesOfFile();

const later = new Date(Date.UTC(2027, 0, 1));

describe('a log of receipts', () => {
  it('has the receipt of every run, which the client sees proven, and remembers', async () => {
    const own = await stage();
    const seen = logMemory();
    const one = own.client({ seen });
    for (const size of [1, 2, 3]) {
      const { receipt } = await one.getReceipt(await own.ran());
      expect(receipt.status).toBe('success');
      expect(await sizeOf(seen)).toBe(size);
    }
    expect((await seen.seenOf(placeOf(own))).owed).toEqual([]);
    expect(seen.evidence).toEqual([]);
  });

  it('comes with each receipt: nobody who has asked for its proof asks a second time', async () => {
    let asked = 0;
    let isBehind = false;
    const own = await stage({}, (prove) => async (call) => {
      asked += 1;
      if (isBehind && asked === 2) throw new CscError('STORE_UNAVAILABLE', 'it is behind');
      return prove(call);
    });
    const seen = logMemory();
    const one = own.client({ seen });
    await one.getReceipt(await own.ran());
    expect(asked).toBe(1);
    const denied = makeContract({ risk_class: 'critical' });
    const { receipt } = await one.run(denied, { idempotencyKey: 'one' });
    expect(receipt?.status).toBe('blocked');
    expect([asked, await sizeOf(seen), (await seen.seenOf(placeOf(own))).owed]).toEqual([1, 2, []]);
    // Who watches has it with the receipt, too.
    const watched = await own.ran();
    await one.follow(watched);
    expect([asked, await sizeOf(seen), (await seen.seenOf(placeOf(own))).owed]).toEqual([1, 3, []]);
    // Of a gate that brings none, as an older one, by a call of its own.
    isBehind = true;
    await one.getReceipt(await own.ran());
    expect([asked, await sizeOf(seen)]).toEqual([3, 4]);
  });

  it('has a gate’s own receipts, too, and those of other clients, of which nobody else is told', async () => {
    const { test, client } = await stage();
    const denied = await test.submit(makeContract({ risk_class: 'critical' }));
    const seen = logMemory();
    await client({ seen }).getReceipt(denied.executionId);
    expect(await sizeOf(seen)).toBe(1);
    const asOther = test.as('spiffe://csc.local/client/other');
    await expect(asOther.proveReceipts({ executionIds: [denied.executionId] })).rejects.toMatchObject({
      code: 'EXECUTION_UNKNOWN',
    });
    await expect(asOther.readLogTile('checkpoint')).rejects.toMatchObject({ code: 'NOT_PERMITTED' });
  });

  it('goes on where it was after a restart, also after one between its tiles and its checkpoint', async () => {
    const own = await stage();
    const seen = logMemory();
    const ids = [await own.ran(), await own.ran()];
    await own.client({ seen }).getReceipt(ids[1] ?? '');
    const older = readFileSync(join(treeOf(own), 'checkpoint'));
    await own.test.as(agent).proveReceipts({ executionIds: [await own.ran()] });
    const before = own.test;
    await before.stop();
    const newer = readFileSync(join(treeOf(own), 'checkpoint'));
    // As if it had been killed after the tiles: what follows must be the same tree once more.
    writeFileSync(join(treeOf(own), 'checkpoint'), older);
    await before.reopen();
    await before.as(agent).proveReceipts({ executionIds: [...ids] });
    await expect.poll(() => readFileSync(join(treeOf(own), 'checkpoint')).toString()).toBe(newer.toString());
    const walked = await walkLog(logFilesIn(treeOf(own)), {
      trust: { log: logKey },
      before: newer.toString(),
      receipts: await exportedReceipts(own, ids),
      now: later,
    });
    expect(walked).toMatchObject({ faults: [], counts: { inChains: 2 }, checkpoint: { size: 3 } });
  });

  it('goes on where it was, too, where the gate’s database was set back: no number is given twice', async () => {
    const own = await stage();
    await own.test.as(agent).proveReceipts({ executionIds: [await own.ran()] });
    await own.test.stop();
    const before = readFileSync(join(treeOf(own), 'checkpoint')).toString();
    for (const name of readdirSync(own.test.directory))
      if (name.startsWith('gate.db')) rmSync(join(own.test.directory, name));
    await own.test.reopen();
    const { executionId } = await own.test.submit(makeContract({ risk_class: 'critical' }));
    expect((await own.test.as(agent).proveReceipts({ executionIds: [executionId] })).proofs).toHaveLength(1);
    const walked = await walkLog(logFilesIn(treeOf(own)), {
      trust: { log: logKey },
      before,
      receipts: [],
      now: later,
    });
    expect(walked).toMatchObject({ faults: [], checkpoint: { size: 2 } });
  });

  it('that is not the one that its owners name says so, at its start and as they publish, to its owner', async () => {
    const bindings = [{ identity: agent, policies: ['default'], roles: ['admin' as const] }];
    const { test } = await stage({ bindings: { bindings } });
    const names = (publicKey: Uint8Array) =>
      test.publish({
        log: { vkey: formatVkey({ ...logKey, publicKey }), witnessVkeys: [], quorum: 0 },
      });
    const warnings = async () => (await test.as(agent).getStatus()).warnings;
    const told = () => test.warnings.splice(0).map(([message, { why }]) => why ?? message);
    const other = [
      expect.stringMatching(/^the log of receipts is that of .*, and the owners’ log.yaml names /),
    ];
    await names(logSigner.publicKey);
    expect([told(), await warnings()]).toEqual([[], []]);
    await names(Buffer.alloc(32, 7));
    expect([told(), await warnings()]).toEqual([other, other]);
    await test.reopen();
    expect([told(), await warnings()]).toEqual([other, other]);
    await names(Buffer.alloc(32, 7));
    expect([told(), await warnings()]).toEqual([[], other]);
    await names(logSigner.publicKey);
    expect([told(), await warnings()]).toEqual([[], []]);
  });

  it('that takes nothing in says so, and shows no checkpoint as if a receipt were dropped', async () => {
    const bindings = [{ identity: agent, policies: ['default'], roles: ['admin' as const] }];
    const own = await stage({ bindings: { bindings } });
    const id = await own.ran();
    await own.test.as(agent).proveReceipts({ executionIds: [id] });
    // As a disk does that is full.
    rmSync(treeOf(own), { recursive: true });
    writeFileSync(treeOf(own), '');
    await own.ran();
    const warnings = async () => (await own.test.as(agent).getStatus()).warnings.join();
    await expect.poll(warnings).toMatch(/the log of receipts takes nothing in: .*EEXIST/);
    const log = { reach: async () => false, current: { size: 1, upTo: 1, note: 'old' }, trouble: 'full' };
    const ports = {
      executions: { visible: async () => ({ id }) },
      bindings: { bindings: [] },
      store: { receiptRecords: async () => [2] },
      log,
    } as unknown as ProvePorts;
    const asked = { executionIds: [id], oldSize: 0, witnesses: 0, nameUnknown: false };
    await expect(proveReceipts(ports, toPrincipal(agent), asked, 0)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringMatching(/the log of receipts is behind.*full/),
    });
  });

  it('does not begin anew where its files are not what its checkpoint says', async () => {
    const own = await stage();
    await own.test.as(agent).proveReceipts({ executionIds: [await own.ran()] });
    await own.test.stop();
    const bundle = join(treeOf(own), 'tile/entries/000.p/1');
    const bytes = readFileSync(bundle);
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    writeFileSync(bundle, bytes);
    await expect(own.test.reopen()).rejects.toEqual(
      logInvalid(/is not what its checkpoint of 1 entries says/),
    );
  });
});

describe('a log on its disk', () => {
  it('keeps each tile that its checkpoint names, however many checkpoints ago that was written', async () => {
    const directory = emptyDirectory();
    const { open, accept } = logOf(directory);
    const log = await open();
    log.start();
    for (const count of [256, ...Array(40).fill(1)])
      await log.reach(accept(count), AbortSignal.timeout(5000));
    await log.close();
    const again = await open();
    expect(again.current?.size).toBe(296);
    expect(await again.inclusion(0, 296)).toHaveLength(9);
  });

  it('keeps them, too, where its disk was full at the checkpoint for many attempts', async () => {
    const directory = emptyDirectory();
    const files = new TileFiles(directory);
    const tile = { level: 0, index: 0, width: 1 };
    const write = () => files.write([{ tile, bytes: emptyRoot }], 'a checkpoint', [tile]);
    mkdirSync(join(directory, 'checkpoint.new'));
    for (let attempt = 0; attempt < 40; attempt += 1) await expect(write()).rejects.toThrow('EISDIR');
    rmSync(join(directory, 'checkpoint.new'), { recursive: true });
    await write();
    expect(await files.read(tile)).toEqual(Buffer.from(emptyRoot));
  });

  it('that is far behind leaves the gate to others meanwhile', async () => {
    const { open, accept } = logOf(emptyDirectory(), [], 100);
    const last = accept(10_000, 'submission.decided');
    const log = await open();
    let turns = 0;
    const turn = (): void => {
      turns += 1;
      counting = globalThis.setImmediate(turn);
    };
    let counting = globalThis.setImmediate(turn);
    onTestFinished(() => clearImmediate(counting));
    log.start();
    await log.reach(last, AbortSignal.timeout(30_000));
    // One after each page but the last.
    expect(turns).toBeGreaterThanOrEqual(99);
    await log.close();
  });

  it('that is far behind puts many receipts under one checkpoint', async () => {
    const { open, accept } = logOf(emptyDirectory(), [], 100);
    const write = vi.spyOn(TileFiles.prototype, 'write');
    onTestFinished(() => write.mockRestore());
    const log = await open();
    const last = accept(10_000);
    log.start();
    await log.reach(last, AbortSignal.timeout(30_000));
    await log.close();
    expect(log.current?.size).toBe(10_000);
    expect(write.mock.calls.length).toBeLessThan(5);
  });
});

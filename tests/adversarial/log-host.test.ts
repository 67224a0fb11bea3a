// What such a gate shows its hosts, who look for their own receipts in its log.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { ChainedReceipt } from '@csc-fleet/common/evidence';
import type { ProveOwnReceiptsRequest, ProveOwnReceiptsResponse } from '@csc-fleet/common/messages';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { formatVkey, openCheckpoint } from '@csc-fleet/common/tlog';
import { host, truth } from '@csc-fleet/test-kit/executor/log-host';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import {
  logFilesIn,
  logKey,
  logSigner,
  otherCheckpoint,
  type Stage,
  stagesOfFile,
  treeOf,
  vkey,
} from '@csc-fleet/test-kit/gate/logged-gate';
import type { ReceiptOverrides } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, logOrigin } from '@csc-fleet/test-kit/gate/test-gate';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { walkLog } from '../../packages/cli/src/evidence/walk-log.ts';
import {
  checkReceiptLog,
  logRecordFile,
  readLogRecord,
} from '../../packages/executor/src/log-watch/index.ts';

const stage = stagesOfFile();

const later = new Date(Date.UTC(2027, 0, 1));

describe('a host, whose receipts the gate has acknowledged', () => {
  const closing: (() => Promise<void>)[] = [];
  let own: Stage;
  /** Two receipts that are in its log. */
  let ids: readonly [string, string];

  beforeAll(async () => {
    own = await stage({}, undefined, (close) => void closing.unshift(close));
    ids = [await own.ran(1), await own.ran(2)];
    await own.test.as(agent).proveReceipts({ executionIds: [...ids] });
  });

  afterAll(async () => {
    for (const close of closing) await close();
  });

  it('finds them in the log, remembers its checkpoint beyond a restart, and asks for none twice', async () => {
    const asked: ProveOwnReceiptsRequest[] = [];
    const one = await host((request) => {
      asked.push(request);
      return truth(own)(request);
    });
    for (const id of ids) await one.owed(own, id);
    await one.watch.round();
    expect([one.journal.unproven(9), one.lines, one.watch.found.unproven]).toEqual([[], [], 0]);
    const third = await own.ran(3);
    await one.owed(own, third);
    await own.test.as(agent).proveReceipts({ executionIds: [third] });
    for (const _ of [1, 2]) await one.open().round();
    expect(asked).toMatchObject([
      { executionIds: expect.arrayContaining([...ids]), oldSize: 0 },
      { executionIds: [third], oldSize: 2 },
    ]);
    expect([one.lines, existsSync(join(one.stateDir, logRecordFile))]).toEqual([[], false]);
  });

  it('is told of its own alone', async () => {
    const request = { executionIds: [ids[0], 'unknown'], oldSize: 0, witnesses: 0 };
    expect((await truth(own)(request))?.proofs).toHaveLength(1);
    expect((await truth(own, 'e2')(request))?.proofs).toEqual([]);
  });

  it('finds in the log, too, what it has signed of a run that its gate had ended by a receipt of its own, or brings it for ever', async () => {
    const { test, executor } = own;
    const { executionId } = await test.submit(makeContract());
    const offer = await executor.next('offer', executionId);
    await executor.refuse(executionId, 'SANDBOX_FAILED');
    const before = executor.all('receiptAck').length;
    const bring = async (more: ReceiptOverrides): Promise<ChainedReceipt> => {
      const receipt = executor.chained(offer, more, { sequence: 7 });
      const { receiptJson, originalJson = Buffer.alloc(0) } = receipt;
      executor.say({
        $case: 'receipt',
        value: { executionId, receiptJson, originalJson, outputLogLength: 0 },
      });
      await executor.settled();
      await test.flushed();
      return receipt;
    };
    const acks = () => executor.all('receiptAck').length - before;
    // One that does not verify there is none: as nobody has logged it, it is not acknowledged, and the host looks for nothing.
    await bring({ signer: createSigner(generateKeyPair().seed, 'a-key-of-nobody') });
    expect([acks(), (await test.receipt(executionId))['executor_id']]).toEqual([0, undefined]);
    const { receiptJson } = await bring({});
    await bring({});
    expect(acks()).toBe(2);
    await bring({ receipt: { exit_code: 9 } });
    expect(acks()).toBe(2);
    expect(test.errors.splice(0)).toHaveLength(4);
    await test.as(agent).proveReceipts({ executionIds: [executionId] });
    const one = await host(truth(own));
    await one.owed(own, executionId, receiptJson);
    await one.watch.round();
    expect([one.watch.found.unproven, one.lines]).toEqual([0, []]);
    const receipt = JSON.parse(receiptJson.toString()) as ReceiptV02;
    const receipts = [{ name: executionId, receipt, sha256: sha256Hex(receiptJson) }];
    const walked = await walkLog(logFilesIn(treeOf(own)), { trust: { log: logKey }, receipts, now: later });
    expect(walked).toMatchObject({ faults: [], counts: { inChains: 1 } });
  });

  type HostLie = (truth: ProveOwnReceiptsResponse, dropped: string) => ProveOwnReceiptsResponse | undefined;
  const idIn = (entry: Uint8Array): string => JSON.parse(Buffer.from(entry).toString()).execution_id;
  const hiding: [string, HostLie, RegExp][] = [
    [
      'one of them is dropped',
      (it, dropped) => ({ ...it, proofs: it.proofs.filter(({ entry }) => idIn(entry) !== dropped) }),
      /proves nothing of them in it/,
    ],
    [
      'another receipt of it is proven',
      (it, dropped) => ({
        ...it,
        proofs: it.proofs.map((proof) =>
          idIn(proof.entry) === dropped
            ? {
                ...proof,
                entry: Buffer.from(
                  proof.entry.toString().replace(/("receipt_sha256":")\w{9}/, '$1000000000'),
                ),
              }
            : proof,
        ),
      }),
      /proves nothing of them in it/,
    ],
    ['it shows no log', () => ({ checkpoint: Buffer.alloc(0), consistency: [], proofs: [] }), /shows no log/],
    ['it claims to be of an earlier release', () => undefined, /of a release that proves nothing/],
  ];

  it.each(hiding)(
    'misses what is in no checkpoint ten minutes later where %s, and runs on',
    async (_, lie, why) => {
      const [dropped] = ids;
      let isLying = true;
      const one = await host(async (request) => {
        const answer = await truth(own)(request);
        return isLying && answer !== undefined ? lie(answer, dropped) : answer;
      });
      await one.owed(own, dropped);
      await one.watch.round();
      one.passes(9);
      await one.watch.round();
      const isOld = why.source.includes('release');
      expect(one.lines).toEqual(isOld ? [expect.stringMatching(/^warn the gate is of a release/)] : []);
      expect(one.watch.found).toEqual({ unproven: 1, missing: 0, isFalse: false });
      one.passes(2);
      for (const _ of [1, 2]) await one.watch.round();
      const told = one.lines.filter((line) => line.startsWith('error'));
      expect(told).toEqual([
        expect.stringMatching(/^error receipts that the gate has acknowledged are in no/),
      ]);
      expect(told[0]).toContain(dropped);
      expect(told[0]).toMatch(why);
      // Also after a restart, and for its owner who looks.
      const again = one.open();
      await again.round();
      expect(again.found).toEqual({ unproven: 1, missing: 1, isFalse: false });
      expect(readLogRecord(one.stateDir)).toMatchObject({ missing: 1, missing_executions: [dropped] });
      expect(checkReceiptLog(one.stateDir)).toEqual([
        expect.objectContaining({ ok: true, detail: expect.stringMatching(why) }),
      ]);
      // What it had hidden and shows is there again; where the owners name no log, nobody asks.
      one.names(undefined);
      isLying = false;
      await one.watch.round();
      expect(one.watch.found.missing).toBe(1);
      one.names({ vkey, witnessVkeys: [], quorum: 0 });
      await one.watch.round();
      expect(one.watch.found).toEqual({ unproven: 0, missing: 0, isFalse: false });
      expect([one.lines.at(-1), readLogRecord(one.stateDir)]).toEqual([
        expect.stringMatching(/^info no receipt of this host is missing/),
        undefined,
      ]);
    },
  );

  it('misses none while the gate is away, nor because it was, and does where it is there and answers nothing', async () => {
    let doesAnswer = false;
    const one = await host((request) =>
      doesAnswer ? truth(own)(request) : Promise.reject(new CscError('GATE_UNREACHABLE', 'no answer')),
    );
    for (const id of ids) {
      doesAnswer = false;
      await one.owed(own, id);
      await one.watch.round();
      one.passes(9);
      for (const _ of [1, 2]) {
        one.passes(60, 'away');
        await one.watch.round();
      }
      expect([one.watch.found.missing, one.lines]).toEqual([0, []]);
      doesAnswer = id === ids[0];
      one.passes(1);
      await one.watch.round();
    }
    expect(one.watch.found.missing).toBe(1);
    expect(one.lines).toEqual([expect.stringMatching(/^error receipts .*no answer/)]);
    // What it has missed it misses though the gate goes.
    one.passes(60, 'away');
    const again = one.open();
    await again.round();
    expect(again.found.missing).toBe(1);
  });

  const answerOf = (checkpoint: string) => ({
    checkpoint: Buffer.from(checkpoint),
    consistency: [],
    proofs: [],
  });
  const entriesIn = (it: ProveOwnReceiptsResponse): number =>
    openCheckpoint(it.checkpoint, { log: logKey }).checkpoint.size;
  const falsehoods: [string, HostLie, RegExp][] = [
    [
      'a fork',
      (it) => answerOf(otherCheckpoint(logSigner, logOrigin, entriesIn(it))),
      /two logs have \d entries/,
    ],
    [
      'a log that was set back',
      () => answerOf(otherCheckpoint(logSigner, logOrigin, 1)),
      /a log of \d entries has 1/,
    ],
    ['a log that is gone', () => answerOf(''), /it had \d entries, and is gone/],
    [
      'a log under another key than the owners name',
      () => answerOf(otherCheckpoint(createSigner(generateKeyPair().seed, logOrigin))),
      /not signed with the pinned key/,
    ],
    [
      'a proof that does not hold',
      (it) => ({
        ...it,
        proofs: it.proofs.map((proof) => ({ ...proof, hashes: proof.hashes.map(() => Buffer.alloc(32)) })),
      }),
      /inclusion proof of the entry 1 does not hold/,
    ],
    [
      'more proofs than it can have asked for',
      (it) => ({ ...it, proofs: Array(257).fill(it.proofs[0]) }),
      /257 proofs are too many/,
    ],
  ];

  it('says that the log is false where it is shown one that contradicts what it has met, and keeps what was signed', async () => {
    for (const [what, lie, why] of falsehoods) {
      let isLying = false;
      const one = await host(async (request) => {
        const answer = await truth(own)(request);
        return isLying && answer !== undefined ? lie(answer, '') : answer;
      });
      await one.owed(own, ids[0]);
      await one.watch.round();
      await one.owed(own, ids[1]);
      const met = one.journal.seenLog(vkey);
      isLying = true;
      for (const _ of [1, 2]) await one.watch.round();
      expect(one.lines, what).toEqual([
        expect.stringMatching(new RegExp(`^error THE LOG OF RECEIPTS IS FALSE.*${why.source}`)),
      ]);
      // What it was shown does not take the place of what it knows.
      expect(one.journal.seenLog(vkey)).toBe(met);
      const { is_false: evidence } = readLogRecord(one.stateDir) ?? {};
      expect(evidence?.seen_checkpoint).toBe(met);
      expect(checkReceiptLog(one.stateDir)[0]?.detail).toMatch(why);
      isLying = false;
      await one.watch.round();
      // Two checkpoints of one key are evidence for as long as their owner keeps them; what nobody has signed is none.
      const isKept = evidence?.shown_checkpoint !== '';
      expect(isKept, what).toBe(
        what.startsWith('a fork') || what.endsWith('set back') || what.includes('proof'),
      );
      expect(one.open().found).toEqual({ unproven: 0, missing: 0, isFalse: isKept });
      rmSync(join(one.stateDir, logRecordFile), { force: true });
      await one.watch.round();
      expect(one.watch.found.isFalse).toBe(false);
    }
  });

  it('takes a checkpoint that too few of the owners’ witnesses have cosigned for no proof, and for no lie', async () => {
    const witness = { name: 'w', type: 'cosignature' as const, publicKey: Buffer.alloc(32, 9) };
    const one = await host(truth(own));
    one.names({ vkey, witnessVkeys: [formatVkey(witness)], quorum: 1 });
    await one.owed(own, ids[0]);
    await one.watch.round();
    one.passes(11);
    await one.watch.round();
    expect(one.watch.found).toEqual({ unproven: 1, missing: 1, isFalse: false });
    expect(one.lines).toEqual([expect.stringMatching(/cosigned by 0 of the witnesses, and 1 are due/)]);
  });

  it('goes on missing all that it missed, after a restart, however many they are', async () => {
    const one = await host(async () => undefined);
    const database = new DatabaseSync(join(one.stateDir, 'journal.sqlite'));
    database.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
      INSERT INTO unproven SELECT 'e' || i, '', ${Date.now()} + i, 0 FROM n`);
    database.close();
    await one.watch.round();
    one.passes(11);
    await one.watch.round();
    expect(one.watch.found.missing).toBe(100);
    const again = one.open();
    await again.round();
    expect(again.found.missing).toBe(100);
    expect(readLogRecord(one.stateDir)?.missing_executions).toHaveLength(100);
    expect(one.lines.filter((it) => it.includes('"missing":100'))).toHaveLength(2);
    expect(one.lines.at(-1)?.match(/"e\d+"/g)).toHaveLength(16);
    expect(checkReceiptLog(one.stateDir).at(0)?.detail).toMatch(/^100 receipts .*\(e1, e2, e3, …\)/);
  });

  it('looks for no more than it has room for, and does not let its gate choose which', async () => {
    const one = await host(async () => undefined);
    const database = new DatabaseSync(join(one.stateDir, 'journal.sqlite'));
    database.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
      INSERT INTO unproven SELECT 'e' || i, '', ${Date.now()} + i, 0 FROM n`);
    database.close();
    await one.watch.round();
    const left = one.journal.unproven(9000).map(({ executionId }) => Number(executionId.slice(1)));
    expect(left).toHaveLength(4096);
    expect([left.some((it) => it <= 904), left.some((it) => it > 4096)]).toEqual([true, true]);
    expect(one.lines).toContainEqual(expect.stringMatching(/looked for in the log no longer.*"missing":904/));
    one.passes(31 * 24 * 60);
    await one.watch.round();
    expect(one.journal.unproven(9000)).toEqual([]);
  });
});

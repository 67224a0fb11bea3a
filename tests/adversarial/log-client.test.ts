// What a gate that is taken over, with the key of its log, shows its clients of that log: another one than before, a shorter one,
// one without a receipt.
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { SeenLogs } from '@csc-fleet/client';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import type { ProveReceiptsResponse, ReceiptProof } from '@csc-fleet/common/messages';
import { emptyRoot, formatVkey, leafHash, openCheckpoint, signCheckpoint } from '@csc-fleet/common/tlog';
import { witnessed } from '@csc-fleet/test-kit/cli/witness';
import {
  forged,
  logInvalid,
  logKey,
  logMemory,
  logSigner,
  otherCheckpoint,
  type Prove,
  placeOf,
  sizeOf,
  stagesOfFile,
  vkey,
} from '@csc-fleet/test-kit/gate/logged-gate';
import { inMemory, logOrigin, type TestGateOptions } from '@csc-fleet/test-kit/gate/test-gate';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openSeenLogs } from '../../packages/cli/src/connect/seen-logs.ts';

const stage = stagesOfFile();

describe('a client', () => {
  it.each([
    ['another log of the same length', 2, /two logs have 2 entries/],
    [
      'a longer log that does not begin with the one before',
      3,
      /the log of 3 entries does not begin with that of 2/,
    ],
    ['a log that has shrunk', 1, /a log of 2 entries has 1 afterwards/],
  ])('sees %s, and keeps both checkpoints', async (_, size, message) => {
    const [one, other] = [await stage(), await stage()];
    const seen = logMemory();
    const ids = [await one.ran(), await one.ran()];
    await one.client({ seen }).getReceipt(ids[1] ?? '');
    const forked: string[] = [];
    for (let count = 0; count < size; count += 1) forked.push(await other.ran());
    const shown = other.client({ seen }).getReceipt(forked.at(-1) ?? '');
    await expect(shown).rejects.toEqual(logInvalid(message));
    // Both are the log's own word.
    const [evidence] = seen.evidence;
    for (const note of [evidence?.seenCheckpoint, evidence?.shownCheckpoint])
      expect(openCheckpoint(Buffer.from(note ?? ''), { log: logKey }).checkpoint.origin).toBe(logOrigin);
    // What it was shown does not take the place of what it knows.
    expect(await sizeOf(seen)).toBe(2);
  });

  type Lie = (
    truth: ProveReceiptsResponse,
    earlier: readonly ReceiptProof[],
  ) => Partial<ProveReceiptsResponse>;
  const answers: [string, Lie, RegExp][] = [
    ['no proof of it', () => ({ proofs: [] }), /none is the receipt of/],
    [
      'the proof of another',
      ({ proofs: [own] }, earlier) => ({
        proofs: earlier.map((it) => ({ ...it, executionId: own?.executionId ?? '' })),
      }),
      /none is the receipt of/,
    ],
    [
      'a proof that does not hold',
      ({ proofs }) => ({
        proofs: proofs.map((it) => ({ ...it, hashes: it.hashes.map(() => Buffer.alloc(32)) })),
      }),
      /inclusion proof of the entry 1 does not hold/,
    ],
    [
      'a checkpoint with another signature',
      () => ({ checkpoint: Buffer.from(otherCheckpoint(createSigner(generateKeyPair().seed, logOrigin))) }),
      /not signed with the pinned key/,
    ],
    [
      'a checkpoint of another log',
      () => ({ checkpoint: Buffer.from(otherCheckpoint(logSigner, 'csc.local/gate/other')) }),
      /is of the log csc.local\/gate\/other/,
    ],
    ['a checkpoint that is none', () => ({ checkpoint: Buffer.from('2\n') }), /checkpoint was refused/],
    ['no log, where there was one', () => ({ checkpoint: Buffer.alloc(0) }), /it had 1 entries, and is gone/],
  ];
  it.each(answers)('whose receipt is dropped is not satisfied by %s', async (_, lie, message) => {
    let isLying = false;
    const earlier: ReceiptProof[] = [];
    const own = await stage({}, (prove) => async (call) => {
      const truth = await prove(call);
      if (isLying) return { ...truth, ...lie(truth, earlier) };
      earlier.push(...truth.proofs);
      return truth;
    });
    const seen = logMemory();
    const first = await own.ran();
    await own.client({ seen }).getReceipt(first);
    isLying = true;
    const second = own.client({ seen }).getReceipt(await own.ran());
    await expect(second).rejects.toEqual(logInvalid(message));
    expect(seen.evidence).toHaveLength(1);
  });

  it('that asks twice at once sees two logs that are shown to it', async () => {
    const asked = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let calls = 0;
    // To the second call, the same receipts in another order, under the log's real key.
    const own = await stage({}, (prove) => async (call) => {
      const number = calls;
      calls += 1;
      asked[number]?.resolve();
      await Promise.all(asked.map(({ promise }) => promise));
      const truth = await prove({ ...call, request: { ...call.request, executionIds: ids } });
      if (number !== 1) return truth;
      const turned = truth.proofs.toReversed();
      const leaves = turned.map(({ entry }) => leafHash(entry));
      const proofs = turned.map((it, index) => ({ ...it, index, hashes: leaves.toSpliced(index, 1) }));
      return { ...truth, checkpoint: forged(turned.map(({ entry }) => entry)), proofs };
    });
    const ids = [await own.ran(), await own.ran()];
    const seen = logMemory();
    const answers = await Promise.allSettled(ids.map((id) => own.client({ seen }).getReceipt(id)));
    const refused = answers.filter(({ status }) => status === 'rejected');
    expect(refused).toEqual([
      expect.objectContaining({ reason: logInvalid(/IS FALSE: two logs have 2 entries/) }),
    ]);
    expect(seen.evidence).toHaveLength(1);
  });

  it('keeps what it has met of a log while no other process can, which it may be shown another', async () => {
    const own = await stage({});
    const seen = logMemory();
    let isAlone = false;
    const guarded: SeenLogs = {
      ...seen,
      exclusively: async (act) => {
        isAlone = true;
        return act().finally(() => {
          isAlone = false;
        });
      },
      keep: async (...it) => {
        expect(isAlone).toBe(true);
        await seen.keep(...it);
      },
    };
    await own.client({ seen: guarded }).getReceipt(await own.ran());
    expect(await sizeOf(seen)).toBe(1);
  });

  it('reads what another process has met at the same time, once that is written', async () => {
    const directory = mkdtempSync(join(inMemory, 'csc-seen-logs-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const [one, two] = [1, 2].map(() =>
      openSeenLogs(
        () => join(directory, 'met.logs'),
        () => undefined,
      ),
    );
    const [isIn, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const first = one?.exclusively?.(async () => {
      isIn.resolve();
      await goOn.promise;
      await one.keep(vkey, { owed: [], checkpoint: 'the first’s' });
    });
    await isIn.promise;
    const second = two?.exclusively?.(() => two.seenOf(vkey));
    // Long enough for the second to be in, if anything let it.
    for (let turns = 0; turns < 50; turns += 1) await setImmediate();
    goOn.resolve();
    await first;
    expect(await second).toMatchObject({ checkpoint: 'the first’s' });
  });

  it('asks again for what the gate has not proven, and takes a gate without a log only where none is demanded', async () => {
    let isSilent = true;
    const own = await stage({}, (prove) => async (call) => {
      if (isSilent) throw new Error('it is away');
      return prove(call);
    });
    const seen = logMemory();
    const [first, second] = [await own.ran(), await own.ran()];
    await expect(own.client({ seen }).getReceipt(first)).rejects.toThrow();
    expect((await seen.seenOf(placeOf(own))).owed).toMatchObject([{ executionId: first }]);
    isSilent = false;
    await own.client({ seen }).getReceipt(second);
    expect((await seen.seenOf(placeOf(own))).owed).toEqual([]);
    const without = await stage({ log: undefined });
    const id = await without.ran();
    await expect(without.client().getReceipt(id)).rejects.toMatchObject({ code: 'LOG_MISSING' });
    await expect(without.client({ vkey: 'none' }).getReceipt(id)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});

describe('a client that a gate owes a proof', () => {
  const gone = { executionId: 'exec_gone', sha256: 'a'.repeat(64) };

  it('says that the gate does not know it any more, forgets it by nobody’s word but a person’s, and asks nothing of others', async () => {
    const asked: string[][] = [];
    const own = await stage({}, (prove) => (call) => {
      asked.push(call.request.executionIds);
      return prove(call);
    });
    const seen = logMemory();
    await seen.keep(placeOf(own), { owed: [gone] });
    await seen.keep('somebody else', { owed: [{ ...gone, executionId: 'exec_theirs' }] });
    const id = await own.ran();
    const refused = {
      code: 'LOG_MISSING',
      message: expect.stringMatching(/does not know exec_gone .*set back/),
    };
    for (const _ of [1, 2]) await expect(own.client({ seen }).getReceipt(id)).rejects.toMatchObject(refused);
    expect((await seen.seenOf(placeOf(own))).owed).toEqual([gone]);
    expect(asked.flat()).not.toContain('exec_theirs');
    // What is there beside it was proven, and of what the gate has only just handed out it cannot say that.
    expect(await sizeOf(seen)).toBe(1);
    const denying = await stage({}, (prove) => async (call) => {
      const { executionIds: unknownExecutionIds } = call.request;
      return { ...(await prove(call)), proofs: [], unknownExecutionIds };
    });
    const denied = denying.client().getReceipt(await denying.ran());
    await expect(denied).rejects.toEqual(logInvalid(/IS FALSE.*none is the receipt of/));
  });

  it('hears that a log is false before it hears that too few have cosigned it', async () => {
    const { demand: witness } = await witnessed();
    const own = await stage({}, (prove) => async (call) => ({ ...(await prove(call)), proofs: [] }));
    const seen = logMemory();
    const shown = own.client({ seen, ...witness }).getReceipt(await own.ran());
    await expect(shown).rejects.toEqual(logInvalid(/IS FALSE.*none is the receipt of/));
    expect(seen.evidence).toHaveLength(1);
    // And where nothing is false, that too few have.
    const honest = await stage();
    await expect(honest.client(witness).getReceipt(await honest.ran())).rejects.toMatchObject({
      code: 'LOG_MISSING',
    });
  });

  it('is told that the log has another key than the one that is demanded', async () => {
    const other = createSigner(generateKeyPair().seed, logOrigin);
    const own = await stage({ log: other });
    const refused = own.client().getReceipt(await own.ran());
    await expect(refused).rejects.toEqual(logInvalid(/its key is .* and .* is demanded: unless the owners/));
  });
});

describe('a client that nobody has given the key of the log', () => {
  const place = placeOf;
  /** Met the log of this gate, long enough ago that what runs now is younger. */
  async function acquainted(options: Partial<TestGateOptions>, lie?: (prove: Prove) => Prove) {
    const own = await stage(options, lie);
    const seen = logMemory();
    const warnings: string[] = [];
    const log = {
      vkey: undefined,
      seen,
      now: () => own.test.clock.now(),
      onWarning: (it: string) => warnings.push(it),
    };
    const one = own.client(log);
    await one.getReceipt(await own.ran());
    own.test.clock.advance(120_000);
    await one.getReceipt(await own.ran());
    own.test.clock.advance(60_000);
    return { own, one, seen, warnings, log };
  }

  it('remembers the first, holds what runs after it against it, and what is older against nothing', async () => {
    let isDropping = false;
    const { own, one, seen, warnings } = await acquainted({}, (prove) => async (call) => {
      const truth = await prove(call);
      return isDropping ? { ...truth, proofs: [] } : truth;
    });
    const older = await own.ran();
    expect((await seen.seenOf(place(own))).firstUse?.vkey).toBe(vkey);
    await one.getReceipt(older);
    expect(await seen.seenOf(place(own))).toMatchObject({ owed: [] });
    isDropping = true;
    own.test.clock.advance(60_000);
    await expect(one.getReceipt(await own.ran())).rejects.toEqual(logInvalid(/none is the receipt of/));
    expect(seen.evidence).toHaveLength(1);
    // One that ended before the log was met may be older than the log.
    const { accused, ...early } = { ...(await seen.seenOf(place(own))), owed: [] };
    expect(accused?.message).toMatch(/none is the receipt of/);
    const metAt = new Date(own.test.clock.now().getTime() + 1).toISOString();
    const firstUse = { vkey, metAt, askedAt: '2020-01-01T00:00:00Z' };
    await seen.keep(place(own), { ...early, firstUse });
    await one.getReceipt(older);
    expect([seen.evidence.length, warnings]).toEqual([1, []]);
  });

  it('says in words that the log has another key, and keeps both checkpoints', async () => {
    let other: Prove | undefined;
    const { own, one, seen, warnings } = await acquainted({}, (prove) => (call) => (other ?? prove)(call));
    const signer = createSigner(generateKeyPair().seed, logOrigin);
    const note = Buffer.from(signCheckpoint({ origin: logOrigin, size: 0, root: emptyRoot }, signer));
    const logVkey = formatVkey({ ...logKey, publicKey: signer.publicKey });
    other = async () => ({ checkpoint: note, consistency: [], proofs: [], logVkey, unknownExecutionIds: [] });
    await one.getReceipt(await own.ran());
    expect(warnings).toEqual([
      expect.stringMatching(/has another key, .*unless the owners have begun it anew/),
    ]);
    expect(seen.evidence).toHaveLength(1);
    expect((await seen.seenOf(place(own))).firstUse?.vkey).toBe(logVkey);
  });

  it('says each time that the log was found false, until it is seen true: at once, unanswered, of another key, unknown', async () => {
    let other: Prove | undefined;
    let real: Prove | undefined;
    const { own, one, seen, warnings } = await acquainted({}, (prove) => {
      real = prove;
      return (call) => (other ?? prove)(call);
    });
    const none = { consistency: [], proofs: [], unknownExecutionIds: [], logVkey: vkey };
    const id = await own.ran();
    other = async () => ({ ...none, checkpoint: forged(['x', 'y']) });
    const isFalse = logInvalid(/IS FALSE: two logs have 2 entries/);
    // By the same clock: nothing is due, and it is asked all the same.
    for (const _ of [1, 2, 3]) await expect(one.getReceipt(id)).rejects.toEqual(isFalse);
    expect([seen.evidence.length, (await seen.seenOf(place(own))).accused?.evidence]).toEqual([1, 'a file']);
    const signer = createSigner(generateKeyPair().seed, logOrigin);
    const logVkey = formatVkey({ ...logKey, publicKey: signer.publicKey });
    const anew = Buffer.from(signCheckpoint({ origin: logOrigin, size: 0, root: emptyRoot }, signer));
    const silences: Prove[] = [
      async () => Promise.reject(new CscError('STORE_UNAVAILABLE', 'it is behind')),
      async () => ({ ...none, checkpoint: anew, logVkey }),
      async () => ({ ...none, checkpoint: Buffer.alloc(0), logVkey: '' }),
    ];
    for (const silence of silences) {
      other = silence;
      await expect(one.getReceipt(id)).rejects.toMatchObject({ code: 'LOG_INVALID' });
    }
    expect((await seen.seenOf(place(own))).firstUse?.vkey).toBe(vkey);
    other = undefined;
    await one.getReceipt(id);
    expect((await seen.seenOf(place(own))).accused).toBeUndefined();
    // What was missing is not there by being unknown afterwards.
    own.test.clock.advance(60_000);
    const dropped = await own.ran();
    const checkpoint = Buffer.from((await seen.seenOf(vkey)).checkpoint ?? '');
    other = async () => ({ ...none, checkpoint });
    await expect(one.getReceipt(dropped)).rejects.toEqual(logInvalid(/none is the receipt of/));
    other = async (call) => {
      const truth = { ...none, checkpoint, ...(await real?.(call)) };
      const proofs = truth.proofs.filter(({ executionId }) => executionId !== dropped);
      return { ...truth, proofs, unknownExecutionIds: [dropped] };
    };
    await expect(one.getReceipt(id)).rejects.toEqual(
      logInvalid(/has not been seen true since .*does not know/),
    );
    other = undefined;
    await one.getReceipt(id);
    expect([(await seen.seenOf(place(own))).owed, warnings]).toEqual([[], []]);
  });

  it('hears that a gate shows no entry of its log, or no log at all, though it has handed out receipts: once', async () => {
    let other: Prove | undefined;
    const own = await stage({}, (prove) => (call) => (other ?? prove)(call));
    const none = { checkpoint: Buffer.alloc(0), consistency: [], proofs: [], unknownExecutionIds: [] };
    for (const [logVkey, said] of [
      [vkey, /shows no entry of its log .* and has handed out 1 receipts that must be in it/],
      ['', /shows no log of receipts/],
    ] as const) {
      other = async () => ({ ...none, logVkey });
      const warnings: string[] = [];
      const one = own.client({
        vkey: undefined,
        seen: logMemory(),
        now: () => own.test.clock.now(),
        onWarning: (it: string) => void warnings.push(it),
      });
      for (const _ of [1, 2, 3]) {
        await one.getReceipt(await own.ran());
        own.test.clock.advance(120_000);
      }
      expect(warnings).toEqual([expect.stringMatching(said)]);
    }
  });

  it('sees that the log is another of the same key; and is not refused by a gate that is behind', async () => {
    let other: Prove | undefined;
    const { own, one, seen, warnings } = await acquainted({}, (prove) => (call) => (other ?? prove)(call));
    other = async () => {
      throw new CscError('STORE_UNAVAILABLE', 'the log of receipts is behind');
    };
    await one.getReceipt(await own.ran());
    expect(warnings).toEqual([expect.stringMatching(/1 receipts are in the log .* is asked again/)]);
    expect((await seen.seenOf(place(own))).owed).toHaveLength(1);
    own.test.clock.advance(60_000);
    const none = { consistency: [], proofs: [], unknownExecutionIds: [] };
    other = async () => ({ ...none, checkpoint: forged(['x', 'y']), logVkey: vkey });
    await expect(one.getReceipt(await own.ran())).rejects.toEqual(logInvalid(/two logs have 2 entries/));
  });
});

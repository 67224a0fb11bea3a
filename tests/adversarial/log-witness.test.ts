// What such a log is seen to be by who looks at it for others: a witness, and an auditor.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import {
  emptyRoot,
  formatAddCheckpoint,
  formatVkey,
  leafHash,
  openCheckpoint,
  parseNote,
  signCheckpoint,
} from '@csc-fleet/common/tlog';
import { witnessed } from '@csc-fleet/test-kit/cli/witness';
import { host, truth } from '@csc-fleet/test-kit/executor/log-host';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { logOf } from '@csc-fleet/test-kit/gate/log-of-records';
import {
  emptyDirectory,
  exportedReceipts,
  forged,
  logFilesIn,
  logInvalid,
  logKey,
  logMemory,
  logSigner,
  stagesOfFile,
  treeOf,
  vkey,
} from '@csc-fleet/test-kit/gate/logged-gate';
import { agent, logOrigin } from '@csc-fleet/test-kit/gate/test-gate';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type LogFiles, walkLog, walkRemembered } from '../../packages/cli/src/evidence/walk-log.ts';
import { Cosigning } from '../../packages/gate/src/log/cosigning.ts';

const stage = stagesOfFile();

const later = new Date(Date.UTC(2027, 0, 1));

describe('a witness', () => {
  it('cosigns what only grows, and a client demands that; of two logs it cosigns one', async () => {
    const witness = await witnessed();
    const witnesses = [{ url: witness.url, key: witness.key }];
    const [one, other] = [await stage({ witnesses }), await stage({ witnesses })];
    const seen = logMemory();
    for (const _ of [1, 2]) await one.client({ seen, ...witness.demand }).getReceipt(await one.ran());
    const { checkpoint = '' } = await seen.seenOf(vkey);
    const trust = { log: logKey, witnesses: [witness.key], quorum: 1 };
    expect(openCheckpoint(Buffer.from(checkpoint), trust).cosigned).toMatchObject([
      { seconds: BigInt(Date.UTC(2026, 0, 1) / 1000) },
    ]);
    // The second tree, for somebody who has seen nothing of the first.
    const ids = [await other.ran(), await other.ran(), await other.ran()];
    await expect(other.client(witness.demand).getReceipt(ids[2] ?? '')).rejects.toMatchObject({
      code: 'LOG_MISSING',
      message: expect.stringMatching(
        /cosigned by 0 of the witnesses, and 1 are due: witness.example\/w1 did not. The run itself has ended: success, exit code 0, as/,
      ),
    });
    expect(witness.forks.join()).toMatch(/THE LOG csc.local\/gate\/test IS FALSE at 3 entries/);
    expect(readdirSync(join(witness.directory, 'evidence'))).toHaveLength(1);
    expect(JSON.stringify(other.test.warnings)).toMatch(
      /does not cosign the log.*what it has cosigned is not the beginning of our log.* \(it answers 422/,
    );
  });

  const day = 24 * 60 * 60_000;
  const untimely = {
    code: 'LOG_MISSING',
    message: expect.stringMatching(
      /cosigned by 0 of the witnesses, and 1 are due: witness.example\/w1 did at 20\S+Z, and what counts is from 20/,
    ),
  };

  it('says of a log what it was: no client, host or auditor takes an old word, or one of tomorrow, for that of today', async () => {
    const witness = await witnessed();
    const trust = { log: logKey, witnesses: [witness.key], quorum: 1 };
    const today = new Date(Date.UTC(2026, 0, 1));
    let at = today;
    const own = await stage({}, (prove) => async (call) => {
      const answer = await prove(call);
      return { ...answer, checkpoint: Buffer.from(witness.cosigns(answer.checkpoint.toString(), at)) };
    });
    const id = await own.ran(1);
    const asHost = async () => {
      const one = await host(
        async (request) => {
          const answer = await truth(own)(request);
          if (answer === undefined) throw new Error('it answers');
          return { ...answer, checkpoint: Buffer.from(witness.cosigns(answer.checkpoint.toString(), at)) };
        },
        undefined,
        today,
      );
      one.names({ vkey, ...witness.demand });
      await one.owed(own, id);
      await one.watch.round();
      return one.watch.found.unproven;
    };
    const receipts = await exportedReceipts(own, [id]);
    const asAuditor = async (isLive: boolean) => {
      const read: LogFiles = async (path) => {
        const bytes = await logFilesIn(treeOf(own))(path);
        return path === 'checkpoint' ? Buffer.from(witness.cosigns(String(bytes), at)) : bytes;
      };
      return walkLog(read, { trust, receipts, now: today, isLive });
    };
    for (const offMs of [-day, 0, 5 * 60_000]) {
      at = new Date(today.getTime() + offMs);
      await own.client(witness.demand).getReceipt(id);
      expect(await asHost()).toBe(0);
      expect(await asAuditor(true)).toMatchObject({ cosigners: 1, cosignedAt: at.toISOString() });
    }
    for (const offMs of [-day - 301_000, 301_000]) {
      at = new Date(today.getTime() + offMs);
      await expect(own.client(witness.demand).getReceipt(id)).rejects.toMatchObject(untimely);
      expect(await asHost()).toBe(1);
      await expect(asAuditor(true)).rejects.toMatchObject(untimely);
    }
    // Evidence is of its time: whoever has cosigned what it covers, has.
    const [{ receipt } = { receipt: undefined }] = receipts;
    const endedAt = Date.parse(receipt?.ended_at ?? '');
    at = new Date(endedAt);
    expect(
      await walkLog(
        async (path) => {
          const bytes = await logFilesIn(treeOf(own))(path);
          return path === 'checkpoint' ? Buffer.from(witness.cosigns(String(bytes), at)) : bytes;
        },
        { trust, receipts, now: later },
      ),
    ).toMatchObject({ faults: [], cosigners: 1 });
    at = new Date(endedAt - day - 301_000);
    await expect(asAuditor(false)).rejects.toMatchObject(untimely);
    // A host of which nothing ends before the year 9999 takes nothing from that.
    at = new Date(endedAt);
    const [first] = receipts;
    if (first === undefined) throw new Error('none was exported');
    const lying = { ...first, receipt: { ...first.receipt, ended_at: '9999-12-31T00:00:00Z' } };
    const read: LogFiles = async (path) => {
      const bytes = await logFilesIn(treeOf(own))(path);
      return path === 'checkpoint' ? Buffer.from(witness.cosigns(String(bytes), at)) : bytes;
    };
    expect(await walkLog(read, { trust, receipts: [lying], now: later })).toMatchObject({ cosigners: 1 });
  });

  it('is asked once more where nothing comes, so that its word is of today; who does not answer then has still cosigned', async () => {
    const [one, other] = [await witnessed(), await witnessed()];
    const witnesses = [one, other].map(({ url, key }) => ({ url, key }));
    const { open, accept } = logOf(emptyDirectory());
    const log = await open();
    log.start();
    onTestFinished(() => log.close());
    await log.reach(accept(1), AbortSignal.timeout(5000));
    let now = new Date(Date.UTC(2026, 0, 1));
    const patient = { timeout: 10_000 };
    const warnings: string[] = [];
    const cosigning = new Cosigning({
      log,
      witnesses,
      onWarning: (_, { why }) => void warnings.push(String(why)),
      renewMs: 1,
      clock: { now: () => now },
    });
    onTestFinished(() => cosigning.close());
    cosigning.start();
    const seen = () => {
      const { cosigned } = cosigning;
      if (cosigned === undefined) return [];
      const trust = { log: logKey, witnesses: witnesses.map(({ key }) => key) };
      return openCheckpoint(Buffer.from(cosigned.note), trust).cosigned.map(
        ({ seconds = 0n }) => Number(seconds) * 1000,
      );
    };
    await expect.poll(seen, patient).toEqual([now.getTime(), now.getTime()]);
    const before = now;
    other.stop();
    now = new Date(now.getTime() + day);
    one.passes(day);
    await expect.poll(seen, patient).toEqual([now.getTime(), before.getTime()]);
    // One whose clock is wrong is told of, as nobody counts it.
    one.passes(day);
    await expect.poll(() => warnings.join(), patient).toMatch(/its clock is 86400 s ahead of this one/);
    expect(seen()).toEqual([now.getTime(), before.getTime()]);
  });

  it('answers as tlog-witness says, and remembers what it has signed before it says so', async () => {
    const { open, key, directory } = await witnessed();
    const ask = (oldSize: number, checkpoint: Buffer, proof: Uint8Array[] = [], witness = open()) =>
      witness.addCheckpoint(formatAddCheckpoint({ oldSize, proof, checkpoint }));
    const [one, two] = [forged(['a']), forged(['a', 'b'])];
    expect(ask(5, two).status).toBe(400);
    expect(open().addCheckpoint(Buffer.from('old 0\n\nnonsense')).status).toBe(400);
    expect(
      ask(0, Buffer.from(signCheckpoint({ origin: 'another', size: 0, root: emptyRoot }, logSigner))).status,
    ).toBe(404);
    const stranger = createSigner(generateKeyPair().seed, logOrigin);
    expect(
      ask(0, Buffer.from(signCheckpoint({ origin: logOrigin, size: 0, root: emptyRoot }, stranger))).status,
    ).toBe(403);
    expect(ask(1, two)).toMatchObject({ status: 409, type: 'text/x.tlog.size', body: '0\n' });
    expect(ask(0, one, [emptyRoot]).status).toBe(422);
    const signed = ask(0, one);
    expect(signed.status).toBe(200);
    const note = parseNote(Buffer.from(`${one}${signed.body}`));
    expect(
      note.ok &&
        openCheckpoint(Buffer.from(`${one}${signed.body}`), { log: logKey, witnesses: [key], quorum: 1 })
          .cosigned,
    ).toHaveLength(1);
    // Another process, as after a kill: what was signed is on the disk.
    expect(ask(0, two)).toMatchObject({ status: 409, body: '1\n' });
    expect(ask(1, forged(['x']))).toMatchObject({ status: 409, body: '1\n' });
    expect(ask(1, forged(['x', 'b']), [leafHash(Buffer.from('b'))]).status).toBe(422);
    expect(ask(1, two, [leafHash(Buffer.from('b'))]).status).toBe(200);
    expect(ask(2, two).status).toBe(200);
    expect(ask(1, two, [leafHash(Buffer.from('b'))])).toMatchObject({ status: 409, body: '2\n' });
    // What it cannot read it does not take for nothing.
    const [file = ''] = readdirSync(join(directory, 'logs'));
    writeFileSync(join(directory, 'logs', file), 'damaged');
    expect(() => ask(0, one)).toThrow(expect.objectContaining({ code: 'LOG_INVALID' }));
  });

  it('signs nothing while another process is at what it remembers', async () => {
    const { open, directory } = await witnessed();
    const other = new DatabaseSync(join(directory, 'witness.lock'));
    onTestFinished(() => other.close());
    const ask = () =>
      open({ patienceMs: 0 }).addCheckpoint(
        formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: forged(['a']) }),
      );
    other.exec('BEGIN EXCLUSIVE;');
    expect(ask).toThrow(expect.objectContaining({ code: 'STORE_UNAVAILABLE' }));
    expect(readdirSync(join(directory, 'logs'))).toEqual([]);
    other.exec('ROLLBACK;');
    expect(ask().status).toBe(200);
  });

  it('counts once, under whatever names it is given, and the log is none', async () => {
    const { key } = await witnessed();
    const [own] = [formatVkey(key)];
    const named = formatVkey({ ...key, name: 'another.example/w2' });
    const { client, ran } = await stage();
    const id = await ran();
    const again = formatVkey({ ...logKey, type: 'cosignature' });
    for (const witnessVkeys of [
      [own, own],
      [own, named],
      [own, again],
      [own, vkey],
    ])
      await expect((async () => client({ witnessVkeys, quorum: 2 }).getReceipt(id))()).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
      });
  });

  it('takes no more from anybody than a request can be', async () => {
    const { url } = await witnessed();
    const post = async (body: string, path = '/add-checkpoint') =>
      (await fetch(`${url}${path}`, { method: 'POST', body })).status;
    expect(await post('old 0\n\n', '/other')).toBe(404);
    expect(await post('')).toBe(400);
    expect((await fetch(`${url}/add-checkpoint`)).status).toBe(405);
    expect(await post('x'.repeat(80_000)).catch(() => 413)).toBe(413);
    expect(await post('old 0\n\n')).toBe(400);
  });
});

describe('an auditor', () => {
  it('finds each receipt of a host’s chain in the log, and each of the log’s in the chain', async () => {
    const own = await stage();
    const ids = [await own.ran(1), await own.ran(2), await own.ran(3)];
    await own.test.submit(makeContract({ risk_class: 'critical' }));
    const receipts = await exportedReceipts(own, ids);
    await own.test.as(agent).proveReceipts({ executionIds: [...ids] });
    const against = { trust: { log: logKey }, receipts, now: later };
    await expect.poll(async () => (await walkLog(logFilesIn(treeOf(own)), against)).checkpoint.size).toBe(4);
    expect(await walkLog(logFilesIn(treeOf(own)), against)).toMatchObject({
      faults: [],
      counts: { inChains: 3, ofGates: 1, beyond: 0 },
    });
    // Whoever has verified it meanwhile may have been shown another one.
    const seen = logMemory();
    const meanwhile: LogFiles = async (path) => {
      await seen.keep(vkey, { owed: [], checkpoint: 'of another walk' });
      return logFilesIn(treeOf(own))(path);
    };
    const walked = walkRemembered(meanwhile, seen, against);
    await expect(walked).rejects.toThrow('was verified by somebody else meanwhile');
    // A receipt that only the host has: the gate has dropped it.
    const [first, middle, last] = receipts;
    if (first === undefined || middle === undefined || last === undefined) throw new Error('three have run');
    const dropped = { ...middle, name: 'kept by the host', sha256: 'f'.repeat(64) };
    const found = await walkLog(logFilesIn(treeOf(own)), { ...against, receipts: [first, dropped, last] });
    expect(found.faults.map(({ kind }) => kind).sort()).toEqual(['foreign', 'missing']);
    // One that has just ended may be on its way.
    const { sequence: _, ...receipt } = middle.receipt;
    const unnumbered = { ...dropped, receipt };
    const now = new Date(Date.parse(middle.receipt.ended_at) + 1000);
    expect(
      await walkLog(logFilesIn(treeOf(own)), { ...against, receipts: [first, unnumbered], now }),
    ).toMatchObject({
      faults: [],
      pending: 1,
    });
    // One that is dated ahead would be for ever.
    const before = new Date(Date.parse(middle.receipt.ended_at) - 3_600_000);
    const ahead = await walkLog(logFilesIn(treeOf(own)), {
      ...against,
      receipts: [first, unnumbered],
      now: before,
    });
    expect(ahead).toMatchObject({ faults: [{ kind: 'ahead' }], pending: 0 });
  });

  it('sees another log than the one that was verified before, and entries that are not those of the checkpoint', async () => {
    const [one, other] = [await stage(), await stage()];
    for (const it of [one, one, other, other, other])
      await it.test.as(agent).proveReceipts({ executionIds: [await it.ran()] });
    const before = readFileSync(join(treeOf(one), 'checkpoint')).toString();
    const against = { trust: { log: logKey }, receipts: [], now: later };
    const fork = async (read: LogFiles, known?: string) =>
      (await walkLog(read, { ...against, before: known })).faults.map(
        ({ kind, message }) => `${kind}: ${message}`,
      );
    expect(await fork(logFilesIn(treeOf(one)), before)).toEqual([]);
    expect((await fork(logFilesIn(treeOf(other)), before)).join()).toMatch(
      /fork: its first 2 entries are not those that were verified before/,
    );
    // Also where none of its witnesses has cosigned that, which alone would be told otherwise; and where it is gone.
    const { key } = await witnessed();
    const unseen = { ...against, trust: { log: logKey, witnesses: [key], quorum: 1 } };
    expect((await walkLog(logFilesIn(treeOf(other)), { ...unseen, before })).faults).toHaveLength(1);
    await expect(walkLog(logFilesIn(treeOf(one)), { ...unseen, before })).rejects.toMatchObject({
      code: 'LOG_MISSING',
    });
    await expect(walkLog(async () => undefined, { ...against, before })).rejects.toEqual(
      logInvalid(/is gone/),
    );
    const longer = readFileSync(join(treeOf(other), 'checkpoint')).toString();
    expect((await fork(logFilesIn(treeOf(one)), longer)).join()).toMatch(
      /fork: it had 3 entries, and has 2 now/,
    );
    const mixed: LogFiles = async (path) =>
      path === 'checkpoint' ? Buffer.from(before) : logFilesIn(treeOf(other))(path.replace('.p/2', '.p/3'));
    expect((await fork(mixed)).join()).toMatch(/fork: its 2 entries are not those of its checkpoint/);
    const gone: LogFiles = async (path) => (path === 'checkpoint' ? Buffer.from(before) : undefined);
    expect((await fork(gone)).join()).toMatch(/fork: it has no entries 0 to 1/);
    await expect(walkLog(async () => undefined, against)).rejects.toMatchObject({ code: 'LOG_MISSING' });
  });
});

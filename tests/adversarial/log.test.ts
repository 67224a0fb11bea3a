// A gate that is taken over, with the key of its log, shows its clients, its witness and its auditor a log that it should not:
// another one than before, a shorter one, one without a receipt. Everybody sees it for himself.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate } from 'node:timers/promises';
import {
  connect,
  createSeenLogs,
  type GateClient,
  type LogEvidence,
  type LogOptions,
  type SeenLogs,
} from '@csc-fleet/client';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { ChainEntry, ChainedReceipt } from '@csc-fleet/common/evidence';
import {
  AuditRecord,
  type ProveOwnReceiptsRequest,
  type ProveOwnReceiptsResponse,
  type ProveReceiptsResponse,
  type ReceiptProof,
} from '@csc-fleet/common/messages';
import type { OwnersLog } from '@csc-fleet/common/owners';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { readOwnIdentity } from '@csc-fleet/common/rpc';
import { Signal } from '@csc-fleet/common/service';
import {
  cosignText,
  emptyRoot,
  formatAddCheckpoint,
  formatSignatureLine,
  formatVkey,
  leafHash,
  type NoteKey,
  openCheckpoint,
  parseCheckpoint,
  parseNote,
  signCheckpoint,
  TreeEdge,
} from '@csc-fleet/common/tlog';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import type { ReceiptOverrides, ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import {
  agent,
  inMemory,
  logOrigin,
  TestGate,
  type TestGateOptions,
} from '@csc-fleet/test-kit/gate/test-gate';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { openSeenLogs } from '../../packages/cli/src/connect/seen-logs.ts';
import { type LogFiles, walkLog, walkRemembered } from '../../packages/cli/src/evidence/walk-log.ts';
import { createWitnessServer } from '../../packages/cli/src/witness/serve.ts';
import { Witness } from '../../packages/cli/src/witness/witness.ts';
import { openSqliteJournal } from '../../packages/executor/src/journal/index.ts';
import {
  type AskProofs,
  checkReceiptLog,
  LogWatch,
  logRecordFile,
  readLogRecord,
} from '../../packages/executor/src/log-watch/index.ts';
import { Cosigning } from '../../packages/gate/src/log/cosigning.ts';
import { type ProvePorts, proveReceipts } from '../../packages/gate/src/log/prove.ts';
import { ReceiptLog } from '../../packages/gate/src/log/receipt-log.ts';
import { TileFiles } from '../../packages/gate/src/log/tile-files.ts';
import type { Gate } from '../../packages/gate/src/service/compose.ts';
import type { AuditRow } from '../../packages/gate/src/store/tables.ts';

let pki: TestPki;

beforeAll(async () => {
  pki = await TestPki.make();
});

afterAll(() => pki.remove());

const logSigner = createSigner(generateKeyPair().seed, logOrigin);
const logKey: NoteKey = { name: logOrigin, type: 'ed25519', publicKey: logSigner.publicKey };
const vkey = formatVkey(logKey);
const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'LOG_INVALID', message: expect.stringMatching(message) });

type Prove = Gate['methods']['proveReceipts'];

interface Stage {
  readonly test: TestGate;
  readonly executor: ScriptedExecutor;
  readonly address: string;
  /** A client of this gate that demands its log. */
  client(log?: Partial<LogOptions>): GateClient;
  /** Something that has run, with its receipt at the gate, which stands in a chain where a number is given. */
  ran(sequence?: number): Promise<string>;
}

/** A gate, with a log of its own under the one key. @param lie what it answers instead @param finished told what to close */
async function stage(
  options: Partial<TestGateOptions> = {},
  lie: (prove: Prove) => Prove = (prove) => prove,
  finished: (close: () => Promise<void>) => void = onTestFinished,
): Promise<Stage> {
  const test = await TestGate.open({ log: logSigner, ...options });
  finished(() => test.close());
  const { gate } = test;
  const prove = lie(gate.methods.proveReceipts);
  // What comes beside a receipt is the same lie.
  const getReceipt: Gate['methods']['getReceipt'] = async ({ request, ...call }) => {
    const { executionId, prove: wanted } = request;
    const receipt = await gate.methods.getReceipt({ ...call, request: { executionId } });
    if (wanted === undefined) return receipt;
    const executionIds = [...wanted.executionIds, executionId];
    const proof = await prove({ ...call, request: { ...wanted, executionIds } }).catch(() => undefined);
    return { ...receipt, proof };
  };
  const methods = { ...gate.methods, getReceipt, proveReceipts: prove };
  const served = await ServedGate.start({ ...gate, methods }, pki);
  finished(() => served.stop());
  const executor = await test.connected('e1', { slots: 9 });
  return {
    test,
    executor,
    address: served.address,
    ran: async (sequence) => {
      const { executionId } = await test.submit(makeContract());
      const offer = await executor.next('offer', executionId);
      await executor.accept(executionId);
      if (sequence === undefined) await executor.finish(offer);
      else {
        const { receiptJson, originalJson = Buffer.alloc(0) } = executor.chained(offer, {}, { sequence });
        executor.say({
          $case: 'receipt',
          value: { executionId, receiptJson, originalJson, outputLogLength: 0 },
        });
        await executor.next('receiptAck', executionId);
      }
      return executionId;
    },
    client: (log = {}) => {
      const client = connect({
        address: served.address,
        tls: pki.files('client-agent'),
        log: { vkey, ...log },
      });
      onTestFinished(() => client.close());
      return client;
    },
  };
}

/** What a client remembers, and what it has kept as evidence. */
function memory(): SeenLogs & { readonly evidence: LogEvidence[] } {
  const evidence: LogEvidence[] = [];
  return {
    ...createSeenLogs(),
    evidence,
    accuse: async (_, found) => {
      evidence.push(found);
      return 'a file';
    },
  };
}

const sizeOf = async (seen: SeenLogs): Promise<number> => {
  const { checkpoint = '' } = await seen.seenOf(vkey);
  const parsed = parseCheckpoint(Buffer.from(checkpoint));
  return parsed.ok ? parsed.value.checkpoint.size : -1;
};

// Who asks where.
const placeOf = (own: Stage) => `${agent} at ${own.address}`;

const treeOf = ({ test }: Stage): string => join(test.directory, 'log', 'tree');
const filesIn =
  (directory: string): LogFiles =>
  async (path) =>
    existsSync(join(directory, path)) ? readFileSync(join(directory, path)) : undefined;

/** Receipts as a host has exported them. */
async function exported({ test }: Stage, ids: readonly string[]): Promise<ChainEntry[]> {
  return Promise.all(
    ids.map(async (executionId) => {
      const { receiptJson } = await test.as(agent).getReceipt({ executionId });
      const receipt = JSON.parse(receiptJson.toString()) as ReceiptV02;
      return { name: executionId, receipt, sha256: sha256Hex(receiptJson) };
    }),
  );
}

/** A checkpoint of another tree. */
const signed = (signer = logSigner, origin = logOrigin, size = 2) =>
  signCheckpoint({ origin, size, root: emptyRoot }, signer);

const later = new Date(Date.UTC(2027, 0, 1));

describe('a log of receipts', () => {
  it('has the receipt of every run, which the client sees proven, and remembers', async () => {
    const own = await stage();
    const seen = memory();
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
    const seen = memory();
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
    const seen = memory();
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
    const seen = memory();
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
    const walked = await walkLog(filesIn(treeOf(own)), {
      trust: { log: logKey },
      before: newer.toString(),
      receipts: await exported(own, ids),
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
    const walked = await walkLog(filesIn(treeOf(own)), {
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
    await expect.poll(warnings).toMatch(/the log of receipts takes nothing in: .*ENOTDIR/);
    const caller = { ...readOwnIdentity(pki.files('client-agent').cert, 'client'), role: 'client' as const };
    const log = { reach: async () => false, current: { size: 1, upTo: 1, note: 'old' }, trouble: 'full' };
    const ports = {
      executions: { visible: async () => ({ id }) },
      bindings: { bindings: [] },
      store: { receiptRecords: async () => [2] },
      log,
    } as unknown as ProvePorts;
    const asked = { executionIds: [id], oldSize: 0, witnesses: 0, nameUnknown: false };
    await expect(proveReceipts(ports, caller, asked, 0)).rejects.toMatchObject({
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
    await expect(own.test.reopen()).rejects.toEqual(invalid(/is not what its checkpoint of 1 entries says/));
  });
});

function emptyDirectory(): string {
  const directory = mkdtempSync(join(inMemory, 'csc-log-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

const of = { execution_id: null, principal: null, executor_id: null, policy_profile: null };

/** A log over audit records alone, one for each receipt, of which it is given so many at a time. */
function logOf(directory: string, errors: unknown[] = [], window = Number.POSITIVE_INFINITY) {
  const rows: AuditRow[] = [];
  const written = new Signal();
  const store = {
    audited: (abort: AbortSignal) => written.wait(abort),
    auditLast: async () => rows.length,
    skipAudit: async () => undefined,
    auditAfter: async (after: number) => {
      const found = rows.slice(after, after + window);
      return {
        rows: found,
        lookedUpTo: after + found.length,
        isEnd: after + found.length >= rows.length,
      };
    },
  };
  const ports = { store, signer: logSigner, origin: logOrigin, directory };
  return {
    open: () => ReceiptLog.open({ ...ports, onError: (error) => void errors.push(error) }),
    accept: (count: number, kind = 'execution.ended'): number => {
      for (let at = 0; at < count; at += 1) {
        const sequence = rows.length + 1;
        const said = { executionId: `exec_${sequence}`, receiptSha256: sha256Hex(String(sequence)) };
        const record = Buffer.from(AuditRecord.encode(AuditRecord.create(said)).finish());
        rows.push({ ...of, at: '', outcome: '', sequence, kind, record });
      }
      written.ring();
      return rows.length;
    },
  };
}

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
    const seen = memory();
    const ids = [await one.ran(), await one.ran()];
    await one.client({ seen }).getReceipt(ids[1] ?? '');
    const forked: string[] = [];
    for (let count = 0; count < size; count += 1) forked.push(await other.ran());
    const shown = other.client({ seen }).getReceipt(forked.at(-1) ?? '');
    await expect(shown).rejects.toEqual(invalid(message));
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
      () => ({ checkpoint: Buffer.from(signed(createSigner(generateKeyPair().seed, logOrigin))) }),
      /not signed with the pinned key/,
    ],
    [
      'a checkpoint of another log',
      () => ({ checkpoint: Buffer.from(signed(logSigner, 'csc.local/gate/other')) }),
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
    const seen = memory();
    const first = await own.ran();
    await own.client({ seen }).getReceipt(first);
    isLying = true;
    const second = own.client({ seen }).getReceipt(await own.ran());
    await expect(second).rejects.toEqual(invalid(message));
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
    const seen = memory();
    const answers = await Promise.allSettled(ids.map((id) => own.client({ seen }).getReceipt(id)));
    const refused = answers.filter(({ status }) => status === 'rejected');
    expect(refused).toEqual([
      expect.objectContaining({ reason: invalid(/IS FALSE: two logs have 2 entries/) }),
    ]);
    expect(seen.evidence).toHaveLength(1);
  });

  it('keeps what it has met of a log while no other process can, which it may be shown another', async () => {
    const own = await stage({});
    const seen = memory();
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
    const seen = memory();
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
    const seen = memory();
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
    await expect(denied).rejects.toEqual(invalid(/IS FALSE.*none is the receipt of/));
  });

  it('hears that a log is false before it hears that too few have cosigned it', async () => {
    const { demand: witness } = await witnessed();
    const own = await stage({}, (prove) => async (call) => ({ ...(await prove(call)), proofs: [] }));
    const seen = memory();
    const shown = own.client({ seen, ...witness }).getReceipt(await own.ran());
    await expect(shown).rejects.toEqual(invalid(/IS FALSE.*none is the receipt of/));
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
    await expect(refused).rejects.toEqual(invalid(/its key is .* and .* is demanded: unless the owners/));
  });
});

describe('a client that nobody has given the key of the log', () => {
  const place = placeOf;
  /** Met the log of this gate, long enough ago that what runs now is younger. */
  async function acquainted(options: Partial<TestGateOptions>, lie?: (prove: Prove) => Prove) {
    const own = await stage(options, lie);
    const seen = memory();
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
    await expect(one.getReceipt(await own.ran())).rejects.toEqual(invalid(/none is the receipt of/));
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
    const isFalse = invalid(/IS FALSE: two logs have 2 entries/);
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
    await expect(one.getReceipt(dropped)).rejects.toEqual(invalid(/none is the receipt of/));
    other = async (call) => {
      const truth = { ...none, checkpoint, ...(await real?.(call)) };
      const proofs = truth.proofs.filter(({ executionId }) => executionId !== dropped);
      return { ...truth, proofs, unknownExecutionIds: [dropped] };
    };
    await expect(one.getReceipt(id)).rejects.toEqual(invalid(/has not been seen true since .*does not know/));
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
        seen: memory(),
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
    await expect(one.getReceipt(await own.ran())).rejects.toEqual(invalid(/two logs have 2 entries/));
  });
});

/** A witness of that log, behind HTTP. */
async function witnessed() {
  const directory = mkdtempSync(join(inMemory, 'csc-witness-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const signer = createSigner(generateKeyPair().seed, 'witness.example/w1');
  const key: NoteKey = { name: 'witness.example/w1', type: 'cosignature', publicKey: signer.publicKey };
  const forks: string[] = [];
  // As a gate's clock in a test has it.
  let now = new Date(Date.UTC(2026, 0, 1));
  const open = (ports: { readonly patienceMs?: number } = {}) =>
    new Witness({
      ...ports,
      name: key.name,
      signer,
      logs: [logKey],
      directory,
      now: () => now,
      onFork: (message) => forks.push(message),
    });
  const server = createWitnessServer(open(), (error) => forks.push(String(error)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  onTestFinished(stop);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    directory,
    key,
    forks,
    open,
    url,
    stop,
    passes: (ms: number) => {
      now = new Date(now.getTime() + ms);
    },
    demand: { witnessVkeys: [formatVkey(key)], quorum: 1, now: () => new Date(Date.UTC(2026, 0, 1)) },
    /** A checkpoint that it has cosigned at that time, whatever it has cosigned before. */
    cosigns: (note: string, at: Date): string =>
      note +
      formatSignatureLine(cosignText(`${note.split('\n\n')[0]}\n`, key.name, signer, at.getTime() / 1000)),
  };
}

/** A tree under the log's real key. */
function forged(entries: readonly (string | Uint8Array)[]) {
  const edge = new TreeEdge();
  for (const entry of entries) edge.add(leafHash(typeof entry === 'string' ? Buffer.from(entry) : entry));
  return Buffer.from(signCheckpoint({ origin: logOrigin, ...edge.head() }, logSigner));
}

describe('a witness', () => {
  it('cosigns what only grows, and a client demands that; of two logs it cosigns one', async () => {
    const witness = await witnessed();
    const witnesses = [{ url: witness.url, key: witness.key }];
    const [one, other] = [await stage({ witnesses }), await stage({ witnesses })];
    const seen = memory();
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
    const receipts = await exported(own, [id]);
    const asAuditor = async (isLive: boolean) => {
      const read: LogFiles = async (path) => {
        const bytes = await filesIn(treeOf(own))(path);
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
          const bytes = await filesIn(treeOf(own))(path);
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
      const bytes = await filesIn(treeOf(own))(path);
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
    const receipts = await exported(own, ids);
    await own.test.as(agent).proveReceipts({ executionIds: [...ids] });
    const against = { trust: { log: logKey }, receipts, now: later };
    await expect.poll(async () => (await walkLog(filesIn(treeOf(own)), against)).checkpoint.size).toBe(4);
    expect(await walkLog(filesIn(treeOf(own)), against)).toMatchObject({
      faults: [],
      counts: { inChains: 3, ofGates: 1, beyond: 0 },
    });
    // Whoever has verified it meanwhile may have been shown another one.
    const seen = memory();
    const meanwhile: LogFiles = async (path) => {
      await seen.keep(vkey, { owed: [], checkpoint: 'of another walk' });
      return filesIn(treeOf(own))(path);
    };
    const walked = walkRemembered(meanwhile, seen, against);
    await expect(walked).rejects.toThrow('was verified by somebody else meanwhile');
    // A receipt that only the host has: the gate has dropped it.
    const [first, middle, last] = receipts;
    if (first === undefined || middle === undefined || last === undefined) throw new Error('three have run');
    const dropped = { ...middle, name: 'kept by the host', sha256: 'f'.repeat(64) };
    const found = await walkLog(filesIn(treeOf(own)), { ...against, receipts: [first, dropped, last] });
    expect(found.faults.map(({ kind }) => kind).sort()).toEqual(['foreign', 'missing']);
    // One that has just ended may be on its way.
    const { sequence: _, ...receipt } = middle.receipt;
    const unnumbered = { ...dropped, receipt };
    const now = new Date(Date.parse(middle.receipt.ended_at) + 1000);
    expect(
      await walkLog(filesIn(treeOf(own)), { ...against, receipts: [first, unnumbered], now }),
    ).toMatchObject({
      faults: [],
      pending: 1,
    });
    // One that is dated ahead would be for ever.
    const before = new Date(Date.parse(middle.receipt.ended_at) - 3_600_000);
    const ahead = await walkLog(filesIn(treeOf(own)), {
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
    expect(await fork(filesIn(treeOf(one)), before)).toEqual([]);
    expect((await fork(filesIn(treeOf(other)), before)).join()).toMatch(
      /fork: its first 2 entries are not those that were verified before/,
    );
    // Also where none of its witnesses has cosigned that, which alone would be told otherwise; and where it is gone.
    const { key } = await witnessed();
    const unseen = { ...against, trust: { log: logKey, witnesses: [key], quorum: 1 } };
    expect((await walkLog(filesIn(treeOf(other)), { ...unseen, before })).faults).toHaveLength(1);
    await expect(walkLog(filesIn(treeOf(one)), { ...unseen, before })).rejects.toMatchObject({
      code: 'LOG_MISSING',
    });
    await expect(walkLog(async () => undefined, { ...against, before })).rejects.toEqual(invalid(/is gone/));
    const longer = readFileSync(join(treeOf(other), 'checkpoint')).toString();
    expect((await fork(filesIn(treeOf(one)), longer)).join()).toMatch(
      /fork: it had 3 entries, and has 2 now/,
    );
    const mixed: LogFiles = async (path) =>
      path === 'checkpoint' ? Buffer.from(before) : filesIn(treeOf(other))(path.replace('.p/2', '.p/3'));
    expect((await fork(mixed)).join()).toMatch(/fork: its 2 entries are not those of its checkpoint/);
    const gone: LogFiles = async (path) => (path === 'checkpoint' ? Buffer.from(before) : undefined);
    expect((await fork(gone)).join()).toMatch(/fork: it has no entries 0 to 1/);
    await expect(walkLog(async () => undefined, against)).rejects.toMatchObject({ code: 'LOG_MISSING' });
  });
});

/** A host that a gate has acknowledged receipts of, and that asks it for their proofs. */
async function host(ask: AskProofs, stateDir = emptyDirectory(), startedAt = new Date()) {
  let now = startedAt;
  let connectedMs = 0;
  const clock = { now: () => now };
  const journal = openSqliteJournal(join(stateDir, 'journal.sqlite'), { clock });
  onTestFinished(() => journal.close());
  const lines: string[] = [];
  const write = (level: string) => (fields: object, text: string) =>
    void lines.push(`${level} ${text} ${JSON.stringify(fields)}`);
  const log = { info: write('info'), warn: write('warn'), error: write('error') };
  let said: OwnersLog | undefined = { vkey, witnessVkeys: [], quorum: 0 };
  const open = () =>
    new LogWatch({ journal, named: () => said, ask, connectedMs: () => connectedMs, stateDir, clock, log });
  return {
    journal,
    lines,
    stateDir,
    open,
    watch: open(),
    names: (log: OwnersLog | undefined) => {
      said = log;
    },
    passes: (minutes: number, gate: 'there' | 'away' = 'there') => {
      now = new Date(now.getTime() + minutes * 60_000);
      if (gate === 'there') connectedMs += minutes * 60_000;
    },
    /** The receipt that this gate has of an execution was this host's, and is acknowledged. */
    async owed({ test }: Stage, executionId: string, signed?: Buffer): Promise<void> {
      const receiptJson = signed ?? (await test.as(agent).getReceipt({ executionId })).receiptJson;
      const times = { notBefore: now, expiresAt: new Date(now.getTime() + 60_000), redeemedAt: now };
      const use = { ticketId: executionId, executionId, draft: '{}', bare: '{}', approvals: [] };
      await journal.redeem({ ...use, ...times });
      const sealed = { receiptJson, receiptSha256: sha256Hex(receiptJson), outputLogLength: 0 };
      await journal.finish(executionId, () => sealed);
      // So that the commit of the one does not wait for others.
      await Promise.all([journal.acknowledge(executionId, true), journal.progress('', '')]);
    },
  };
}

const executorOf = (name: string) => ({
  name,
  role: 'executor' as const,
  trustDomain: 'csc.local',
  uri: `spiffe://csc.local/executor/${name}`,
});

/** As the gate answers this executor, where it does not lie. */
const truth =
  ({ test }: Stage, name = 'e1'): AskProofs =>
  (request) =>
    test.gate.receipts.prove(executorOf(name), request);

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
    const walked = await walkLog(filesIn(treeOf(own)), { trust: { log: logKey }, receipts, now: later });
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
    ['a fork', (it) => answerOf(signed(logSigner, logOrigin, entriesIn(it))), /two logs have \d entries/],
    ['a log that was set back', () => answerOf(signed(logSigner, logOrigin, 1)), /a log of \d entries has 1/],
    ['a log that is gone', () => answerOf(''), /it had \d entries, and is gone/],
    [
      'a log under another key than the owners name',
      () => answerOf(signed(createSigner(generateKeyPair().seed, logOrigin))),
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

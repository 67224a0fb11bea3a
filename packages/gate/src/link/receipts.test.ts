import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSigner, generateKeyPair, type Signer } from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { type ChainedReceipt, signChainHead, signExecutorKey } from '@csc-fleet/common/evidence';
import { ExecutionState, KeyRole, type Offer } from '@csc-fleet/common/messages';
import { parseChainHead } from '@csc-fleet/common/receipt';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import {
  type ReceiptOverrides,
  type ScriptedExecutor,
  toFrame,
} from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { logPath } from '../output/output-store.ts';
import { Uncounted } from './receipts.ts';

let test: TestGate;
let executor: ScriptedExecutor;

beforeEach(async () => {
  test = await TestGate.open();
  executor = await test.connected('e1', { slots: 5 });
});

afterEach(async () => {
  await test.close();
  expect(test.errors).toEqual([]);
});

const rejected = (code: string) => expect.objectContaining({ code });

/** Offered to the executor, and accepted by it. */
async function run(receiptVersion = 'csc.receipt.v0.2'): Promise<Offer> {
  const options = { receiptVersion, queueTimeout: undefined };
  const { executionId } = await test.submit(makeContract(), { options });
  await executor.accept(executionId);
  return executor.next('offer', executionId);
}

const stored = async ({ executionId }: Offer) =>
  (await test.as(agent).getReceipt({ executionId })).receiptJson;

/** What is behind the receipt has been taken, and so was the receipt, unless it waits for output. */
async function taken(by = executor): Promise<void> {
  await by.settled();
  await test.flushed();
}

describe('the receipt of an executor', () => {
  it.each(['csc.receipt.v0.1', 'csc.receipt.v0.2'])('ends the execution, in %s', async (version) => {
    const offer = await run(version);
    const receiptJson = executor.receipt(offer);
    expect(JSON.parse(receiptJson.toString()).receipt_version).toBe(version);
    await executor.finish(offer);
    expect(await stored(offer)).toEqual(receiptJson);
    const { execution } = await test.as(agent).getExecution({ executionId: offer.executionId });
    expect(execution).toMatchObject({
      state: ExecutionState.SUCCEEDED,
      exitCode: 0,
      executorId: 'e1',
      startedAt: test.clock.now(),
      endedAt: test.clock.now(),
    });
    const [finished] = (await test.events(offer.executionId)).slice(-1);
    expect(finished?.event).toMatchObject({ $case: 'finished', value: { execution, receiptJson } });
  });

  it.each([
    ['success', 'exit', ExecutionState.SUCCEEDED],
    ['failed', 'exit', ExecutionState.FAILED],
    ['failed', 'timeout', ExecutionState.FAILED],
    ['failed', 'cancelled', ExecutionState.CANCELLED],
    ['blocked', 'refused', ExecutionState.BLOCKED],
    ['expired', 'refused', ExecutionState.EXPIRED],
  ] as const)('says how it ended: %s, %s', async (status, ended, state) => {
    const offer = await run();
    await executor.finish(offer, { receipt: { status, ended, exit_code: 7, error: 'why' } });
    const { execution } = await test.as(agent).getExecution({ executionId: offer.executionId });
    expect(execution).toMatchObject({ state, exitCode: 7, error: 'why' });
  });

  it('counts where it comes instead of Accepted', async () => {
    const { executionId } = await test.submit(makeContract());
    await executor.finish(await executor.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('is acknowledged each time and stored once', async () => {
    const offer = await run();
    await executor.finish(offer);
    const first = await stored(offer);
    await executor.finish(offer);
    expect(executor.all('receiptAck', offer.executionId)).toHaveLength(2);
    expect(await stored(offer)).toEqual(first);
    expect((await test.events(offer.executionId)).at(-1)?.event?.$case).toBe('finished');
  });

  it('is acknowledged each time where it comes twice at once', async () => {
    const offer = await run();
    executor.sendReceipt(offer);
    executor.sendReceipt(offer);
    await executor.next('receiptAck', offer.executionId, 1);
    const finished = (await test.events(offer.executionId)).filter(
      ({ event }) => event?.$case === 'finished',
    );
    expect(finished).toHaveLength(1);
  });

  it('is acknowledged again by a gate that was reopened', async () => {
    const offer = await run();
    await executor.finish(offer);
    await test.reopen();
    await executor.connect([offer.executionId]);
    await executor.finish(offer);
    expect(await test.state(offer.executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('verifies with a key that the executor had before', async () => {
    const old = await run();
    executor.disconnect();
    const renewed = test.executor('e1', { slots: 5 });
    await renewed.connect([old.executionId]);
    await renewed.finish(old, { signer: executor.signer });
    expect(await test.state(old.executionId)).toBe(ExecutionState.SUCCEEDED);
  });
});

describe('a receipt that does not count', () => {
  const stranger = createSigner(generateKeyPair().seed, 'a-key-of-nobody');

  const newSigner = (keyId: string) => createSigner(generateKeyPair().seed, keyId);

  const cases: [string, () => ReceiptOverrides | Promise<ReceiptOverrides>][] = [
    ['of another execution', () => ({ receipt: { execution_id: randomUUID() } })],
    ['for another contract', () => ({ receipt: { contract_sha256: '0'.repeat(64) } })],
    ['for another contract id', () => ({ receipt: { contract_id: 'another-contract' } })],
    ['for another policy', () => ({ receipt: { policy_profile: 'wide' } })],
    ['for another version of the policy', () => ({ receipt: { policy_sha256: '0'.repeat(64) } })],
    ['for another ticket', () => ({ receipt: { ticket_id: randomUUID() } })],
    ['of another executor', () => ({ receipt: { executor_id: 'e2' } })],
    ['of no known status', () => ({ receipt: { status: 'fine' as 'success' } })],
    ['signed with an unknown key', () => ({ signer: stranger })],
    ['signed with the gate’s key', () => ({ signer: test.signer })],
    ['signed with another key of the same name', () => ({ signer: newSigner(executor.signer.keyId) })],
    ['signed with another executor’s key', async () => ({ signer: (await test.connected('e2')).signer })],
  ];

  it.each(cases)('%s is not stored nor acknowledged', async (_, overrides) => {
    const offer = await run();
    executor.sendReceipt(offer, await overrides());
    await taken();
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    expect(executor.all('receiptAck')).toEqual([]);
    await expect(stored(offer)).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
    expect(await test.state(offer.executionId)).toBe(ExecutionState.RUNNING);
  });

  it('may not be of another version than was asked for', async () => {
    const offer = await run('csc.receipt.v0.1');
    const ticket = {
      ...JSON.parse(offer.ticketJson.toString()),
      grant: { receipt_version: 'csc.receipt.v0.2' },
    };
    executor.sendReceipt({ ...offer, ticketJson: Buffer.from(JSON.stringify(ticket)) });
    await taken();
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    await expect(stored(offer)).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
  });

  it('is v0.1, and what comes as its original is another receipt', async () => {
    const offer = await run('csc.receipt.v0.1');
    const { executionId } = offer;
    const say = (what: ChainedReceipt, original: ChainedReceipt = what): void =>
      executor.say({
        $case: 'receipt',
        value: {
          executionId,
          receiptJson: what.receiptJson,
          originalJson: original.originalJson ?? Buffer.alloc(0),
          outputLogLength: 0,
        },
      });
    const [good, other] = [executor.chained(offer), executor.chained(offer, { receipt: { exit_code: 1 } })];
    say(good, other);
    await taken();
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    await expect(stored(offer)).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
    say(good);
    await executor.next('receiptAck', executionId);
    expect(await test.as(agent).getReceipt({ executionId })).toEqual({
      receiptJson: good.receiptJson,
      originalJson: good.originalJson,
    });
    const [finished] = (await test.events(executionId)).slice(-1);
    expect(finished?.event).toMatchObject({ value: { originalJson: good.originalJson } });
  });

  it('was changed after it was signed', async () => {
    const offer = await run();
    const { executionId } = offer;
    const receipt = { ...JSON.parse(executor.receipt(offer).toString()), exit_code: 1 };
    const receiptJson = Buffer.from(JSON.stringify(receipt));
    executor.say({
      $case: 'receipt',
      value: { executionId, receiptJson, originalJson: Buffer.alloc(0), outputLogLength: 0 },
    });
    await taken();
    const [error] = test.errors.splice(0) as { cause?: unknown }[];
    expect(error?.cause).toEqual(rejected('SIGNATURE_INVALID'));
    expect(executor.all('receiptAck')).toEqual([]);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
  });

  it('leaves the connection to the executor’s other executions, and may be followed by a good one', async () => {
    const offer = await run();
    const other = await run();
    executor.sendReceipt(offer, { signer: stranger });
    await executor.finish(other);
    expect(executor.hungUp).toBeUndefined();
    await executor.finish(offer);
    expect(await test.state(offer.executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
  });

  it('keeps the slot of its execution', async () => {
    const busy = await test.connected('e2', { labels: { pool: 'two' } });
    const { executionId } = await test.submit(makeContract(), { selector: { pool: 'two' } });
    const waiting = await test.submit(makeContract(), { selector: { pool: 'two' } });
    busy.sendReceipt(await busy.next('offer', executionId), { signer: stranger });
    await taken(busy);
    expect(await test.state(waiting.executionId)).toBe(ExecutionState.QUEUED);
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
  });

  it('comes from another executor, with its own key', async () => {
    const offer = await run();
    const other = await test.connected('e2');
    other.sendReceipt(offer);
    await taken(other);
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    expect(other.all('receiptAck')).toEqual([]);
    expect(await test.state(offer.executionId)).toBe(ExecutionState.RUNNING);
  });

  it('comes from a namesake of another trust domain, which can do nothing with the execution either', async () => {
    const offer = await run();
    const { executionId } = offer;
    const namesake = await test.connected('e1', { trustDomain: 'other.example', slots: 0 });
    expect(namesake.hungUp).toBeUndefined();
    expect(test.gate.output.mayPush(namesake.identity, executionId)).toBe(false);
    namesake.sendReceipt(offer);
    await taken(namesake);
    namesake.disconnect();
    await namesake.connect([]);
    expect(namesake.all('receiptAck')).toEqual([]);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    await executor.finish(offer);
  });

  it('comes late from another executor, and changes nothing', async () => {
    const offer = await run();
    await executor.finish(offer);
    const receipt = await stored(offer);
    const other = await test.connected('e2');
    other.sendReceipt(offer, { receipt: { status: 'failed', exit_code: 1 } });
    await taken(other);
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    expect(other.all('receiptAck')).toEqual([]);
    expect(await stored(offer)).toEqual(receipt);
    expect(await test.state(offer.executionId)).toBe(ExecutionState.SUCCEEDED);
  });
});

describe('output beyond what the ticket grants', () => {
  it('is refused at the gate, whatever the executor counts, and none of it is kept', async () => {
    await test.close();
    test = await TestGate.open({ limits: { output: { stdout_bytes: 10, stderr_bytes: 10 } } });
    executor = await test.connected('e1');
    const offer = await run();
    const { executionId } = offer;
    const length = await executor.push(executionId, 0, 0, 'hello');
    await expect(executor.push(executionId, length, 5, 'world!')).rejects.toEqual(
      rejected('REQUEST_INVALID'),
    );
    expect(await test.gate.output.committedLength(executionId)).toBe(length);
    // Also by a gate that has less to grant since, or more.
    await test.reopen();
    await executor.connect([executionId]);
    expect(await executor.push(executionId, length, 5, 'world')).toBeGreaterThan(length);
    await expect(executor.push(executionId, length + 12, 10, '!')).rejects.toEqual(
      rejected('REQUEST_INVALID'),
    );
    // Nor does a receipt wait for it.
    executor.sendReceipt(offer, {}, 2 ** 21);
    await taken();
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    await executor.finish(offer);
  });

  it('is refused where it is all heads of frames', async () => {
    await test.close();
    test = await TestGate.open({ limits: { output: { stdout_bytes: 10, stderr_bytes: 10 } } });
    executor = await test.connected('e1');
    const { executionId } = await run();
    const empty = Buffer.concat(Array.from({ length: 20_000 }, () => toFrame(0, '')));
    let length = 0;
    const fill = async (): Promise<void> => {
      for (;;) length = await test.gate.output.append(executionId, length, empty);
    };
    await expect(fill()).rejects.toEqual(rejected('REQUEST_INVALID'));
    expect(length).toBeLessThan(2 ** 20 + 40);
  });
});

describe('a receipt that comes before the output', () => {
  const first = toFrame(0, 'hello ');
  const second = toFrame(6, 'world');

  it('is held until the output is there', async () => {
    const offer = await run();
    const { executionId } = offer;
    const length = first.length + second.length;
    executor.sendReceipt(offer, {}, length);
    await taken();
    expect(await executor.push(executionId, 0, 0, 'hello ')).toBe(first.length);
    await taken();
    expect(executor.all('receiptAck')).toEqual([]);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    expect(await executor.push(executionId, first.length, 6, 'world')).toBe(length);
    await executor.next('receiptAck', executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('ends the output where the receipt does: what the host lost with its power is kept apart', async () => {
    const offer = await run();
    const { executionId } = offer;
    await executor.push(executionId, 0, 0, 'hello ');
    await executor.push(executionId, first.length, 6, 'world');
    await executor.connect([executionId]);
    // In the middle of a frame, it is no end.
    executor.sendReceipt(offer, {}, first.length - 1);
    await expect.poll(() => test.errors.length).toBe(1);
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    executor.sendReceipt(offer, {}, first.length);
    await executor.next('receiptAck', executionId);
    const kept = (name: string) =>
      readFileSync(`${logPath(join(test.directory, 'output'), executionId)}${name}`);
    expect(kept('')).toEqual(Buffer.from(first));
    expect(kept('.unconfirmed')).toEqual(Buffer.from(second));
    await test.reopen();
    expect(await test.gate.output.committedLength(executionId)).toBe(first.length);
  });

  it('keeps what the host has lost since it signed and this gate had, and ends without what nobody has', async () => {
    const [offer, other] = [await run(), await run()];
    const whole = first.length + second.length;
    await executor.push(offer.executionId, 0, 0, 'hello ');
    await executor.push(offer.executionId, first.length, 6, 'world');
    await executor.push(other.executionId, 0, 0, 'hello ');
    // As it was said first: all of it would come.
    executor.sendReceipt(other, {}, whole);
    for (const it of [offer, other]) {
      const receiptJson = executor.receipt(it);
      const lost = { outputLogLength: first.length, signedLogLength: whole };
      const value = { executionId: it.executionId, receiptJson, originalJson: Buffer.alloc(0), ...lost };
      executor.say({ $case: 'receipt', value });
      await executor.next('receiptAck', it.executionId);
    }
    const held = (id: string) => test.gate.output.committedLength(id);
    expect(await held(offer.executionId)).toBe(whole);
    expect(await held(other.executionId)).toBe(first.length);
    await taken();
  });

  it('does not hold up the executor’s other messages meanwhile', async () => {
    const offer = await run();
    const other = await run();
    executor.sendReceipt(offer, {}, first.length);
    await executor.finish(other);
    await executor.push(offer.executionId, 0, 0, 'hello ');
    await executor.next('receiptAck', offer.executionId);
  });

  it('is dropped where the connection ends first, and counts when it comes again', async () => {
    const offer = await run();
    const { executionId } = offer;
    executor.sendReceipt(offer, {}, first.length);
    await taken();
    executor.disconnect();
    await executor.connect([executionId]);
    await executor.push(executionId, 0, 0, 'hello ');
    await taken();
    expect(executor.all('receiptAck')).toEqual([]);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    executor.sendReceipt(offer, {}, first.length);
    await executor.next('receiptAck', executionId);
  });
});

describe('the receipt of an execution that was never offered to the executor', () => {
  it('is neither stored nor acknowledged, though it is genuine: the host keeps it', async () => {
    const offer = await run();
    await test.close();
    test = await TestGate.open();
    const same = test.executor('e1', { signer: executor.signer });
    await same.connect();
    same.sendReceipt(offer);
    await taken(same);
    expect(same.all('receiptAck')).toEqual([]);
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    await test.stop();
    expect(test.storedReceipt(offer.executionId)).toBeUndefined();
  });

  it('fills neither store nor log', async () => {
    const offer = await run();
    for (let count = 0; count < 100; count++) executor.sendReceipt({ ...offer, ...junk(offer) });
    await executor.finish(offer);
    // The 1st, 2nd, 4th … 64th.
    expect(test.errors.splice(0)).toHaveLength(7);
  });
});

/** Of an execution that nobody has. */
function junk({ ticketJson }: Offer): Pick<Offer, 'executionId' | 'ticketJson'> {
  const executionId = randomUUID();
  const ticket = { ...JSON.parse(ticketJson.toString()), execution_id: executionId };
  return { executionId, ticketJson: Buffer.from(JSON.stringify(ticket)) };
}

/** What proves that `signer` holds the key of `claimed`, were it not another key. */
function forgedProof(uri: string, claimed: Signer, signer: Signer, at: Date): Buffer {
  const { publicKey, keyId } = claimed;
  return signExecutorKey(uri, { publicKey, keyId, sign: (payload) => signer.sign(payload) }, at);
}

describe('the receipt key of an executor', () => {
  const refused = async (other: ScriptedExecutor, hello = {}) => {
    await other.connect([], hello);
    const error = other.hungUp;
    expect(error).toMatchObject({ code: 'CREDENTIALS_INVALID' });
    expect(test.errors.splice(0)).toContain(error);
    expect(other.all('welcome')).toEqual([]);
  };

  it('is published under its owner', async () => {
    const { keys } = await test.as(agent).getKeys({ keyIds: [executor.signer.keyId] });
    expect(keys).toMatchObject([
      {
        publicKey: Buffer.from(executor.signer.publicKey),
        owner: executor.identity.uri,
        role: KeyRole.EXECUTOR,
      },
    ]);
  });

  it('may not be another executor’s, also in a gate that was reopened', async () => {
    const other = test.executor('e2', { signer: executor.signer });
    await refused(other);
    await test.reopen();
    await refused(other);
  });

  it('may not have the id of another executor’s, of the gate’s or of an older one', async () => {
    const { seed } = generateKeyPair();
    await refused(test.executor('e2', { signer: createSigner(seed, executor.signer.keyId) }));
    await refused(test.executor('e2', { signer: createSigner(seed, test.signer.keyId) }));
    executor.disconnect();
    await refused(test.executor('e1', { signer: createSigner(seed, executor.signer.keyId) }));
  });

  it('may not be one that it does not hold', async () => {
    // What the gate publishes of another executor, or anybody can read in a receipt.
    const victim = createSigner(generateKeyPair().seed, 'victim-key');
    const thief = test.executor('e2');
    const claimed = { receiptKeyId: victim.keyId, receiptPublicKey: Buffer.from(victim.publicKey) };
    const at = test.clock.now();
    const proofs = [
      Buffer.alloc(0),
      // Its own proof, of its own key.
      signExecutorKey(thief.identity.uri, thief.signer, at),
      // The victim's proof, which an eavesdropper may have.
      signExecutorKey('spiffe://csc.local/executor/victim', victim, at),
      // One that says what it should, and that another key has signed.
      forgedProof(thief.identity.uri, victim, thief.signer, at),
    ];
    for (const receiptKeyStatementJson of proofs)
      await refused(thief, { ...claimed, receiptKeyStatementJson });
    expect((await test.as(agent).getKeys({ keyIds: [victim.keyId] })).keys).toEqual([]);
  });

  it('is one of a handful: an executor cannot fill the store with keys', async () => {
    executor.disconnect();
    for (let have = 1; have < 4; have++) {
      const renewed = await test.connected('e1');
      expect(renewed.hungUp).toBeUndefined();
      renewed.disconnect();
    }
    await refused(test.executor('e1'));
    await test.reopen();
    await refused(test.executor('e1'));
    await executor.connect();
    expect(executor.hungUp).toBeUndefined();
    await test.connected('e2');
  });

  it('may not have two ids', async () => {
    const { seed } = generateKeyPair();
    executor.disconnect();
    await (await test.connected('e1', { signer: createSigner(seed, 'first') })).disconnect();
    await refused(test.executor('e1', { signer: createSigner(seed, 'second') }));
  });

  it.each([
    { receiptKeyId: '' },
    { receiptKeyId: 'x'.repeat(201) },
    { receiptPublicKey: Buffer.alloc(0) },
    { receiptPublicKey: Buffer.alloc(31) },
  ])('must be there: %o', async (hello) => {
    await refused(test.executor('e2'), hello);
  });
});

it('bears with all that a host can owe to a gate that has lost its store, and with no flood', () => {
  const told: number[] = [];
  const uncounted = new Uncounted();
  const add = () =>
    uncounted.add(new CscError('RECEIPT_INVALID', 'of another'), (_, count) => told.push(count));
  for (let count = 1; count < 8192; count++) add();
  expect(told).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]);
  expect(add).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }));
});

describe('the head of an executor’s chain', () => {
  const [epoch, later] = ['a'.repeat(32), 'b'.repeat(32)];
  const sha = (of: number) => String(of).padEnd(64, 'c');

  /** Says Hello with it; resolves to whether anything is placed there. */
  async function isUsed(sequence: number, of = sequence, named = epoch): Promise<boolean> {
    const place = { epoch: named, sequence, receiptSha256: sha(of) };
    const chainHeadJson = signChainHead(executor.identity.uri, place, executor.signer, test.clock.now());
    test.clock.advance(1000);
    await executor.connect(executor.offered, { epoch: named, chainHeadJson });
    const { state } = await test.submit(makeContract());
    return state !== ExecutionState.QUEUED;
  }

  it('goes on, and into a new epoch; the gate keeps the newest across its restarts', async () => {
    expect(await isUsed(7)).toBe(true);
    expect(await isUsed(9)).toBe(true);
    expect(await isUsed(1, 77, later)).toBe(true);
  });

  it.each<[string, number, number, string]>([
    ['goes back', 8, 8, epoch],
    ['has another receipt at its end', 9, 99, epoch],
    ['goes back to an epoch that was over', 12, 12, epoch],
  ])(
    'that %s shows that its host was restored: nothing is placed there, and the log says so',
    async (what, sequence, of, named) => {
      expect(await isUsed(9)).toBe(true);
      if (what.includes('epoch')) expect(await isUsed(1, 77, later)).toBe(true);
      expect(await isUsed(sequence, of, named)).toBe(false);
      const [error] = test.errors.splice(0) as CscError[];
      expect(error?.message).toContain('HAS GONE BACK');
      // Its owner has begun anew.
      expect(await isUsed(1, 55, 'd'.repeat(32))).toBe(true);
    },
  );

  it('is told to an executor that has forgotten it, as it signed it, and to no other', async () => {
    const saidOf = () =>
      executor.received.flatMap((it) => (it.$case === 'welcome' ? [it.value.chainHeadJson] : [])).at(-1);
    expect(await isUsed(9)).toBe(true);
    expect(saidOf()).toHaveLength(0);
    expect(await isUsed(8)).toBe(false);
    const said = orThrow(parseChainHead(saidOf() ?? Buffer.alloc(0)), 'RECEIPT_INVALID', 'the head');
    expect(said).toMatchObject({ executor_epoch: epoch, sequence: 9, receipt_sha256: sha(9) });
    // Restored to before its first receipt.
    await executor.connect(executor.offered, { epoch, chainHeadJson: Buffer.alloc(0) });
    expect((await test.submit(makeContract())).state).toBe(ExecutionState.QUEUED);
    expect(saidOf()).not.toHaveLength(0);
    expect(test.errors.splice(0)).toHaveLength(2);
  });

  it('that another has signed counts for nothing', async () => {
    expect(await isUsed(9)).toBe(true);
    const place = { epoch, sequence: 2, receiptSha256: sha(2) };
    const another = createSigner(generateKeyPair().seed, executor.signer.keyId);
    const forged = signChainHead(executor.identity.uri, place, another, test.clock.now());
    await executor.connect(executor.offered, { epoch, chainHeadJson: forged });
    expect((await test.submit(makeContract())).state).not.toBe(ExecutionState.QUEUED);
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
  });
});

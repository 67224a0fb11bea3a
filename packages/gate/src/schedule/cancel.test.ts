import { createKeyRing, createSigner, generateKeyPair, type Signer } from '@csc-fleet/common/crypto';
import { type JsonObject, sha256Hex } from '@csc-fleet/common/encoding';
import { ownersKeyId, signResolution, verifyArtifact } from '@csc-fleet/common/evidence';
import { type Duration, ExecutionState, toDuration } from '@csc-fleet/common/messages';
import { bindingsFromJson } from '@csc-fleet/common/policy';
import type { ResolutionSubject } from '@csc-fleet/common/resolution';
import {
  approve,
  contractForApproval,
  deniedContract,
  makeContract,
} from '@csc-fleet/test-kit/gate/contracts';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, executorLostAfterSec, other, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { beforeEach, describe, expect, it } from 'vitest';

let test: TestGate;
let executor: ScriptedExecutor;

openGateForEach((it) => {
  test = it;
});

beforeEach(async () => {
  executor = await test.connected('e1');
});

const cancel = (executionId: string, gracePeriod?: Duration, principal = agent) =>
  test.as(principal).cancel({ executionId, gracePeriod });

const cancelled = { execution: expect.objectContaining({ state: ExecutionState.CANCELLED }) };

async function expectUnstarted(executionId: string): Promise<void> {
  const receipt = await test.receipt(executionId);
  expect(receipt).toMatchObject({
    status: 'blocked',
    ended: 'cancelled',
    execution_id: executionId,
    completed_command_ids: [],
  });
  const keys = createKeyRing([{ keyId: test.signer.keyId, publicKey: test.signer.publicKey }]);
  verifyArtifact(receipt as JsonObject, keys);
}

describe('cancelling what has not been started', () => {
  it('ends what awaits approval, which no approval brings back', async () => {
    const contract = contractForApproval();
    const { executionId } = await test.submit(contract);
    expect(await cancel(executionId)).toEqual(cancelled);
    await expectUnstarted(executionId);
    const approvalsJson = [approve(contract, test.clock.now())];
    const again = await test.submit(contract, { approvalsJson });
    expect(again.executionId).not.toBe(executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.CANCELLED);
  });

  it('ends what waits, and lets the next one through', async () => {
    const running = await test.place();
    const waiting = await test.place();
    const next = await test.place();
    expect(await cancel(waiting)).toEqual(cancelled);
    await expectUnstarted(waiting);
    expect(await test.kinds(waiting)).toEqual(['decided', 'queued', 'finished']);
    await executor.finish(await executor.next('offer', running));
    await executor.next('offer', next);
    expect(executor.offered).toEqual([running, next]);
  });

  it('makes room for another one', async () => {
    const small = await TestGate.open({ limits: { maxQueued: 1 } });
    try {
      await small.connected('e1');
      await small.submit(makeContract());
      const { executionId } = await small.submit(makeContract());
      await expect(small.submit(makeContract())).rejects.toMatchObject({ code: 'QUEUE_FULL' });
      await small.as(agent).cancel({ executionId, gracePeriod: undefined });
      expect((await small.submit(makeContract())).state).toBe(ExecutionState.QUEUED);
    } finally {
      await small.close();
    }
  });

  it('stays so in a gate that was reopened', async () => {
    await test.place();
    const waiting = await test.place();
    await cancel(waiting);
    await test.reopen();
    const another = await test.connected('e2');
    await test.flushed();
    expect(await test.state(waiting)).toBe(ExecutionState.CANCELLED);
    expect(another.offered).toEqual([]);
  });

  it('changes nothing the second time, nor for two at once', async () => {
    await test.place();
    const waiting = await test.place();
    expect(await Promise.all([cancel(waiting), cancel(waiting)])).toEqual([cancelled, cancelled]);
    const receipt = await test.receipt(waiting);
    test.clock.advance(1000);
    expect(await cancel(waiting)).toEqual(cancelled);
    expect(await test.receipt(waiting)).toEqual(receipt);
    expect(await test.kinds(waiting)).toEqual(['decided', 'queued', 'finished']);
  });
});

describe('cancelling what was offered', () => {
  it('is for the executor to do, whether it has accepted or not', async () => {
    const executionId = await test.place();
    const { execution } = await cancel(executionId);
    expect(execution?.state).toBe(ExecutionState.OFFERED);
    await executor.next('cancel', executionId);
    await executor.accept(executionId);
    const offer = await executor.next('offer', executionId);
    await executor.finish(offer, { receipt: { status: 'failed', ended: 'cancelled', exit_code: 143 } });
    expect(await test.state(executionId)).toBe(ExecutionState.CANCELLED);
  });

  it('ends it where the executor has no room for it', async () => {
    const another = await test.connected('e2');
    const executionId = await test.place();
    const [holder, free] = executor.offered.length > 0 ? [executor, another] : [another, executor];
    await cancel(executionId);
    await holder.refuse(executionId, 'SPOOL_FULL');
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.CANCELLED);
    await expectUnstarted(executionId);
    expect(free.offered).toEqual([]);
  });

  it.each(['SANDBOX_UNAVAILABLE', 'INTERNAL'])(
    'ends it where the one host that could run it fails: %s',
    async (reason) => {
      const executionId = await test.place();
      await cancel(executionId);
      await executor.refuse(executionId, reason);
      await test.flushed();
      expect(await test.state(executionId)).toBe(ExecutionState.CANCELLED);
      await expectUnstarted(executionId);
    },
  );

  it('ends it where the executor was away and comes back without it', async () => {
    const executionId = await test.place();
    executor.disconnect();
    await cancel(executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    await executor.connect();
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.CANCELLED);
    await expectUnstarted(executionId);
    expect(executor.offered).toEqual([executionId]);
  });
});

describe('cancelling what runs', () => {
  let executionId: string;

  beforeEach(async () => {
    executionId = await test.place();
    await executor.accept(executionId);
  });

  const finish = async (ended: 'cancelled' | 'exit') => {
    const offer = await executor.next('offer', executionId);
    await executor.finish(offer, { receipt: { status: 'failed', ended, exit_code: 143 } });
  };

  it('asks the executor, and ends with its receipt', async () => {
    const { execution } = await cancel(executionId);
    expect(execution?.state).toBe(ExecutionState.RUNNING);
    expect(await executor.next('cancel', executionId)).toEqual({
      executionId,
      gracePeriod: { seconds: 5, nanos: 0 },
    });
    await finish('cancelled');
    expect(await test.state(executionId)).toBe(ExecutionState.CANCELLED);
    expect((await test.kinds(executionId)).slice(3)).toEqual(['started', 'cancelling', 'finished']);
  });

  it('may come too late: the receipt says what happened', async () => {
    await cancel(executionId);
    await finish('exit');
    expect(await test.state(executionId)).toBe(ExecutionState.FAILED);
  });

  it.each([
    [0, { seconds: 0, nanos: 0 }],
    [1_500, { seconds: 1, nanos: 500_000_000 }],
    [3_600_000, { seconds: 60, nanos: 0 }],
  ])('gives it %d ms, within limits', async (ms, gracePeriod) => {
    await cancel(executionId, toDuration(ms));
    expect((await executor.next('cancel', executionId)).gracePeriod).toEqual(gracePeriod);
    const events = await test.events(executionId);
    expect(events.at(-1)?.event).toEqual({ $case: 'cancelling', value: { principal: agent, gracePeriod } });
  });

  it('asks again the second time, perhaps for less grace, and says so once', async () => {
    await cancel(executionId);
    await cancel(executionId, toDuration(0));
    const asked = executor.all('cancel', executionId).map(({ gracePeriod }) => gracePeriod?.seconds);
    expect(asked).toEqual([5, 0]);
    expect((await test.kinds(executionId)).filter((kind) => kind === 'cancelling')).toHaveLength(1);
  });

  it('reaches an executor that was away', async () => {
    executor.disconnect();
    await cancel(executionId, toDuration(2_000));
    expect(executor.all('cancel')).toEqual([]);
    await executor.connect([executionId]);
    expect(await executor.next('cancel', executionId)).toEqual({
      executionId,
      gracePeriod: { seconds: 2, nanos: 0 },
    });
  });

  it('reaches an executor that was away, also from a gate that was reopened', async () => {
    executor.disconnect();
    await cancel(executionId, toDuration(2_000));
    await test.reopen();
    await executor.connect([executionId]);
    expect(await executor.next('cancel', executionId)).toEqual({
      executionId,
      gracePeriod: { seconds: 2, nanos: 0 },
    });
  });

  it('is known to be the reason where a v0.1 receipt cannot say it', async () => {
    await finish('exit');
    const options = { receiptVersion: 'csc.receipt.v0.1', queueTimeout: undefined };
    const asked = (await test.submit(makeContract(), { options })).executionId;
    await executor.accept(asked);
    await cancel(asked);
    await executor.finish(await executor.next('offer', asked), { receipt: { status: 'failed' } });
    expect(await test.state(asked)).toBe(ExecutionState.CANCELLED);
  });
});

describe('cancelling what has ended', () => {
  it('changes nothing of what succeeded', async () => {
    const executionId = await test.place();
    await executor.finish(await executor.next('offer', executionId));
    const { execution } = await cancel(executionId);
    expect(execution?.state).toBe(ExecutionState.SUCCEEDED);
    expect(executor.all('cancel')).toEqual([]);
  });

  it('changes nothing of what was denied', async () => {
    const { executionId } = await test.submit(deniedContract());
    expect((await cancel(executionId)).execution?.state).toBe(ExecutionState.BLOCKED);
  });

  it('is kept for what is lost: its executor is told when it is back', async () => {
    const executionId = await test.place();
    await executor.accept(executionId);
    executor.disconnect();
    await test.waitUntilLost();
    expect((await cancel(executionId)).execution?.state).toBe(ExecutionState.LOST);
    expect((await test.kinds(executionId)).at(-1)).toBe('cancelling');
    await executor.connect([executionId]);
    await executor.next('cancel', executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
  });
});

describe('cancelling what is not one’s own', () => {
  it('is as if it were not there, in every state', async () => {
    const running = await test.place();
    await executor.accept(running);
    const waiting = await test.place();
    const awaiting = (await test.submit(contractForApproval())).executionId;
    const denied = (await test.submit(deniedContract())).executionId;
    for (const executionId of [running, waiting, awaiting, denied, 'no-such-execution', '']) {
      await expect(cancel(executionId, undefined, other)).rejects.toMatchObject({
        code: 'EXECUTION_UNKNOWN',
      });
    }
    expect(await test.state(running)).toBe(ExecutionState.RUNNING);
    expect(await test.state(waiting)).toBe(ExecutionState.QUEUED);
    expect(await test.state(awaiting)).toBe(ExecutionState.AWAITING_APPROVAL);
    expect(executor.all('cancel')).toEqual([]);
  });
});

function owner(): Signer {
  const { seed, publicKey } = generateKeyPair();
  return createSigner(seed, ownersKeyId(publicKey));
}

describe('resolving what its executor never ends', () => {
  const alice = owner();
  const bob = owner();
  const admin = 'spiffe://csc.local/client/admin';
  const { clock } = { clock: { now: () => test.clock.now() } };

  // One that only the owners' word can end, with limits that one execution fills.
  beforeEach(async () => {
    const bindings = bindingsFromJson({
      bindings_version: 'csc.bindings.v0.2',
      bindings: [
        { identity: agent, policies: ['default'], limits: { running: 1 } },
        { identity: other, policies: ['default'] },
        { identity: admin, policies: ['default'], roles: ['admin'] },
        { identity: 'spiffe://csc.local/client/nobody', policies: ['default'] },
      ],
    });
    if (!bindings.ok) throw new Error(JSON.stringify(bindings.faults));
    const retention = { maxAgeDays: 1, receiptsDays: 2 };
    await test.reopen({ bindings: bindings.value, retention });
    executor = await test.connected('e1');
    await owners([alice]);
  });

  const owners = (signers: readonly Signer[], threshold = signers.length) => {
    const keys = createKeyRing(signers.map(({ keyId, publicKey }) => ({ keyId, publicKey })));
    return test.publish({ signers: { keys, threshold } });
  };

  const running = async () => {
    const executionId = await test.place();
    await executor.accept(executionId);
    return executionId;
  };

  const losing = async () => {
    const executionId = await running();
    executor.disconnect();
    await test.waitUntilLost();
    return executionId;
  };

  const losingNext = async () => {
    await executor.connect([]);
    return losing();
  };

  const resolve = (executionId: string, resolutionsJson: Buffer[] = [], principal = admin) =>
    test.as(principal).resolve({ executionId, resolutionsJson });

  const sign = async (executionId: string, signer = alice, change: Partial<ResolutionSubject> = {}) => {
    const { execution, trustDomain } = await resolve(executionId);
    const subject = {
      trust_domain: trustDomain,
      execution_id: executionId,
      contract_sha256: execution?.contractSha256 ?? '',
      ...change,
    };
    return signResolution(subject, 'its host burnt down', signer, clock.now());
  };

  const refused = (message: string) => ({
    code: 'RESOLUTION_INVALID',
    message: expect.stringContaining(message),
  });

  it('ends it as what it is, without a receipt, and frees slot and limits', async () => {
    const executionId = await losing();
    const signed = await sign(executionId);
    const { execution } = await resolve(executionId, [signed]);
    expect(execution).toMatchObject({
      state: ExecutionState.LOST,
      endedAt: test.clock.now(),
      error: expect.stringMatching(/resolved by the owners.*nobody knows.*burnt down/),
    });
    expect((await test.kinds(executionId)).slice(-2)).toEqual(['lost', 'finished']);
    const told = await test.as(agent).getExecution({ executionId });
    expect(told.resolutionsJson).toEqual([signed]);
    await expect(test.receipt(executionId)).rejects.toMatchObject({ code: 'EXECUTION_UNKNOWN' });
    expect((await test.events(executionId)).at(-1)?.event).toMatchObject({
      $case: 'finished',
      value: { resolutionsJson: [signed], receiptJson: Buffer.alloc(0) },
    });
    // Once more, in whatever words, it stays as it was; also in a gate that was reopened.
    const again = await sign(executionId).then((it) => resolve(executionId, [it]));
    expect(again.resolutionsJson).toEqual([signed]);
    await test.reopen();
    expect((await resolve(executionId)).resolutionsJson).toEqual([signed]);
    // Nothing of it is in the way of what comes next.
    executor = await test.connected('e2');
    const next = await test.place();
    await executor.next('offer', next);
    expect((await cancel(executionId)).execution?.state).toBe(ExecutionState.LOST);
    expect((await test.kinds(executionId)).at(-1)).toBe('finished');
  });

  it('names itself where a host that is there has no receipt to bring, in whose place another runs at once', async () => {
    const executionId = await running();
    executor.disconnect();
    await executor.connect([executionId], { receiptlessIds: [executionId] });
    expect(await test.as(agent).getExecution({ executionId })).toMatchObject({
      execution: {
        state: ExecutionState.LOST,
        error: expect.stringContaining(`csc admin resolve ${executionId}`),
      },
    });
    const next = await test.place();
    await executor.next('offer', next);
    await resolve(executionId, [await sign(executionId)]);
    await expect(test.receipt(executionId)).rejects.toMatchObject({ code: 'EXECUTION_UNKNOWN' });
  });

  it('is not placed anew where its host had only been offered it, as far as the gate knows', async () => {
    const executionId = await test.place();
    await executor.next('offer', executionId);
    executor.disconnect();
    const elsewhere = await test.connected('e3');
    await executor.connect([executionId], { receiptlessIds: [executionId] });
    await test.flushed();
    expect(elsewhere.offered).toEqual([]);
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
  });

  it('keeps the receipt that comes after all beside it, acknowledged, and ends what still runs', async () => {
    const executionId = await losing();
    const offer = await executor.next('offer', executionId);
    await resolve(executionId, [await sign(executionId)]);
    await executor.connect([executionId]);
    await executor.next('cancel', executionId);
    const another = executor.receipt(offer, { signer: alice });
    executor.say({
      $case: 'receipt',
      value: { executionId, receiptJson: another, originalJson: Buffer.alloc(0), outputLogLength: 0 },
    });
    await test.flushed();
    await expect(test.receipt(executionId)).rejects.toMatchObject({ code: 'EXECUTION_UNKNOWN' });
    expect(test.errors.splice(0)).toHaveLength(1);
    await executor.finish(offer, { receipt: { status: 'failed', ended: 'cancelled', exit_code: 143 } });
    expect(await test.receipt(executionId)).toMatchObject({ status: 'failed', execution_id: executionId });
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
    expect((await test.as(agent).getExecution({ executionId })).resolutionsJson).toHaveLength(1);
    const { receiptJson } = await test.as(agent).getReceipt({ executionId });
    const told = { executionId, outcome: 'cancelled', exitCode: 143, receiptSha256: sha256Hex(receiptJson) };
    const late = (await test.as(admin).audit()).filter(({ kind }) => kind === 'execution.receipt_came_late');
    expect(late).toMatchObject([{ ...told, actor: expect.stringMatching(/executor.e1$/) }]);
  });

  it('is kept beside the receipt that came while it was written, whichever was first', async () => {
    const executionId = await losing();
    const offer = await executor.next('offer', executionId);
    const signed = await sign(executionId);
    await executor.connect([executionId]);
    await cancel(executionId);
    const resolving = resolve(executionId, [signed]);
    await Promise.allSettled([resolving, executor.finish(offer)]);
    expect(await test.receipt(executionId)).toMatchObject({ status: 'success' });
    expect(executor.all('receiptAck', executionId)).toHaveLength(1);
  });

  it('is for admins, and signed by enough of the owners, of this execution, lately', async () => {
    const executionId = await losing();
    const another = await test.submit(makeContract(), { principal: other });
    const signed = await sign(executionId);
    await expect(resolve(executionId, [signed], agent)).rejects.toMatchObject({ code: 'NOT_PERMITTED' });
    const forgeries: [Buffer | Promise<Buffer>, string][] = [
      [sign(executionId, bob), 'not signed with a key of the owners'],
      [sign(executionId, test.signer), 'not signed with a key of the owners'],
      [sign(executionId, createSigner(generateKeyPair().seed, alice.keyId)), 'not signed with a key'],
      [sign(executionId, alice, { execution_id: another.executionId }), 'of another execution'],
      [sign(executionId, alice, { contract_sha256: 'a'.repeat(64) }), 'of another contract'],
      [sign(executionId, alice, { trust_domain: 'elsewhere' }), 'for another trust domain'],
      [sign(executionId, alice, { executor_id: 'e9' }), 'of a host that does not have it'],
      [Buffer.from(String(signed).replace('burnt down', 'is there')), 'does not fit the content'],
      [Buffer.from('{}'), 'resolution_version'],
    ];
    for (const [forgery, why] of forgeries)
      await expect(resolve(executionId, [await forgery])).rejects.toMatchObject(refused(why));
    test.clock.advance(24 * 3_600_000 + 1);
    await expect(resolve(executionId, [signed])).rejects.toMatchObject(refused('24 hours ago'));
    test.clock.advance(-3 * 24 * 3_600_000);
    await expect(resolve(executionId, [signed])).rejects.toMatchObject(refused('check the clocks'));
    test.clock.advance(2 * 24 * 3_600_000);
    // Of two that must sign, one does not count twice.
    await owners([alice, bob]);
    const fresh = await sign(executionId);
    const twice = resolve(executionId, [fresh, await sign(executionId)]);
    await expect(twice).rejects.toMatchObject(refused('1 of the owners have signed it, and 2 must'));
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
    expect((await resolve(executionId)).resolutionsJson).toEqual([]);
    const both = await resolve(executionId, [fresh, await sign(executionId, bob)]);
    expect(both.resolutionsJson).toHaveLength(2);
    await test.publish({});
  });

  it('waits until a host that is away for a while is LOST, unless its end was asked for', async () => {
    const executionId = await running();
    const about = { executionId, executor: expect.stringMatching(/e1$/) };
    executor.disconnect();
    expect(test.warnings.splice(0)).toMatchObject([['executor disconnected', { open: 1 }]]);
    await test.sweep();
    test.clock.advance(22_000);
    await test.sweep();
    await test.sweep();
    expect((await test.kinds(executionId)).slice(-2)).toEqual(['started', 'away']);
    await expect(resolve(executionId)).rejects.toMatchObject(
      refused(
        `e1 has been away for 22 s, and may come back with it: it is LOST after ${executorLostAfterSec} s`,
      ),
    );
    const { absence } = await test.as(agent).getExecution({ executionId });
    expect(absence).toMatchObject({ executorId: 'e1', since: new Date(test.clock.now().getTime() - 22_000) });
    const { executors } = await test.as(admin).listExecutors();
    expect(executors).toMatchObject([{ connected: false, running: 1, absence }]);
    await cancel(executionId);
    await resolve(executionId, [await sign(executionId)]);
    expect((await test.as(agent).getExecution({ executionId })).absence).toBeUndefined();

    const lost = await losingNext();
    expect(test.warnings.at(-1)).toMatchObject(['an execution is LOST', { ...about, executionId: lost }]);
  });

  it('is all that ends what its host came back without, which is said once', async () => {
    const executionId = await losing();
    for (let times = 0; times < 2; times += 1) {
      await executor.connect([]);
      await test.flushed();
      executor.disconnect();
    }
    const { execution } = await test.as(agent).getExecution({ executionId });
    expect(execution?.error).toContain(
      `e1 is back and does not know this execution: was its state directory emptied, or restored from a backup? Only its owners end it (csc admin resolve ${executionId})`,
    );
    expect((await test.kinds(executionId)).slice(-2)).toEqual(['lost', 'finished']);
    await executor.connect([executionId]);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
  });

  it('leaves alone what somebody else can end', async () => {
    const executionId = await running();
    const waiting = await test.place();
    const pending = (await test.submit(contractForApproval(), { principal: other })).executionId;
    for (const id of [waiting, pending])
      await expect(resolve(id)).rejects.toMatchObject(refused('csc cancel ends it at once'));
    await expect(resolve(executionId)).rejects.toMatchObject(refused('csc cancel it'));
    await expect(resolve('no-such-execution')).rejects.toMatchObject({ code: 'EXECUTION_UNKNOWN' });
    // It was asked to end, and has not: then its host is told once more, and nobody waits for it.
    await cancel(executionId);
    await resolve(executionId, [await sign(executionId)]);
    expect(executor.all('cancel', executionId)).toHaveLength(2);
    await executor.next('offer', waiting);
    await executor.finish(await executor.next('offer', waiting));
    await expect(resolve(waiting)).rejects.toMatchObject(refused('it has ended, and has its receipt'));
    await test.publish({});
    const next = await test.place();
    await cancel(next);
    await expect(resolve(next, [await sign(executionId)])).rejects.toMatchObject(
      refused('policy_repository'),
    );
  });

  it('is forgotten like what has ended otherwise', async () => {
    const executionId = await losing();
    const signed = await sign(executionId);
    await resolve(executionId, [signed]);
    const day = 24 * 3_600_000;
    test.clock.advance(day + 1000);
    await test.as(admin).prune(false);
    await test.reopen();
    expect(await test.kinds(executionId)).toEqual(['finished']);
    expect((await test.as(agent).getExecution({ executionId })).resolutionsJson).toEqual([signed]);
    test.clock.advance(day);
    await test.as(admin).prune(false);
    await expect(test.state(executionId)).rejects.toMatchObject({ code: 'EXECUTION_UNKNOWN' });
  });
});

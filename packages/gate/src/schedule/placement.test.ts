import { createKeyRing } from '@csc-fleet/common/crypto';
import type { JsonObject } from '@csc-fleet/common/encoding';
import { verifyArtifact } from '@csc-fleet/common/evidence';
import { ExecutionState, toDuration } from '@csc-fleet/common/messages';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import { agent, noWait, other, type TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { describe, expect, it } from 'vitest';

let test: TestGate;

openGateForEach(
  (it) => {
    test = it;
  },
  { limits: { maxQueued: 3, queueTimeoutSec: 60 } },
);

const rejected = (code: string) => expect.objectContaining({ code });

describe('placement', () => {
  it('goes by labels, all of them', async () => {
    const first = await test.connected('e1', { labels: { os: 'linux', pool: 'a' }, slots: 5 });
    const second = await test.connected('e2', { labels: { os: 'linux', pool: 'b' }, slots: 5 });
    const third = await test.connected('e3', { labels: { os: 'linux' }, slots: 5 });
    const forB = await test.place({ selector: { pool: 'b' } });
    const forA = await test.place({ selector: { pool: 'a', os: 'linux' } });
    expect(second.offered).toEqual([forB]);
    expect(first.offered).toEqual([forA]);
    expect(third.offered).toEqual([]);
  });

  it('names the epoch of its executor in the ticket, of one that has told it', async () => {
    const executor = test.executor('e1', { slots: 5 });
    await executor.connect([], { epoch: 'e'.repeat(32) });
    const epochOf = async () => {
      const { ticketJson } = await executor.next('offer', await test.place());
      return JSON.parse(ticketJson.toString()).executor_epoch;
    };
    expect(await epochOf()).toBe('e'.repeat(32));
    await executor.connect(executor.offered);
    expect(await epochOf()).toBeUndefined();
  });

  it('tells what was placed where', async () => {
    await test.connected('e1', { labels: { pool: 'a' } });
    const executionId = await test.place();
    const [placed] = (await test.events(executionId)).slice(-1);
    expect(placed?.event).toEqual({ $case: 'placed', value: { executorId: 'e1', labels: { pool: 'a' } } });
  });

  it('goes to the executor with the fewest executions', async () => {
    const executors = [
      await test.connected('e1', { slots: 2 }),
      await test.connected('e2', { slots: 2 }),
      await test.connected('e3', { slots: 2 }),
    ];
    await test.place();
    await test.place();
    await test.place();
    expect(executors.map(({ offered }) => offered.length)).toEqual([1, 1, 1]);
    const [, second] = executors;
    const [offer] = second?.all('offer') ?? [];
    if (offer !== undefined) await second?.finish(offer);
    await test.place();
    expect(executors.map(({ offered }) => offered.length)).toEqual([1, 2, 1]);
  });

  it('does not go to an executor that does not hold the policy', async () => {
    const without = await test.connected('e1', { policySha256s: [] });
    const held = await test.connected('e2');
    const executionId = await test.place();
    expect(without.offered).toEqual([]);
    expect(held.offered).toEqual([executionId]);
  });

  it('waits where all are busy and goes on in order when a slot is free', async () => {
    const executor = await test.connected('e1', { slots: 1 });
    const first = await test.place();
    const second = await test.place();
    const third = await test.place();
    expect(await test.state(second)).toBe(ExecutionState.QUEUED);
    expect(executor.offered).toEqual([first]);
    await executor.finish(await executor.next('offer', first));
    await executor.finish(await executor.next('offer', second));
    await executor.next('offer', third);
    expect(executor.offered).toEqual([first, second, third]);
  });

  it('goes on when another executor connects', async () => {
    await test.connected('e1');
    await test.place();
    const waiting = await test.place();
    const late = await test.connected('e2');
    expect((await late.next('offer')).executionId).toBe(waiting);
  });

  it('does not let one selector’s queue hold up another', async () => {
    await test.connected('e1', { labels: { pool: 'a' } });
    const free = await test.connected('e2', { labels: { pool: 'b' } });
    await test.place({ selector: { pool: 'a' } });
    const waiting = await test.place({ selector: { pool: 'a' } });
    const other = await test.place({ selector: { pool: 'b' } });
    expect(free.offered).toEqual([other]);
    expect(await test.state(waiting)).toBe(ExecutionState.QUEUED);
  });

  it('fills all slots of what comes at once, and no more', async () => {
    const executor = await test.connected('e1', { slots: 2 });
    const ids = await Promise.all([test.place(), test.place(), test.place(), test.place()]);
    await test.flushed();
    expect(executor.offered).toHaveLength(2);
    const states = await Promise.all(ids.map((id) => test.state(id)));
    expect(states.filter((state) => state === ExecutionState.QUEUED)).toHaveLength(2);
  });

  it('gives no slot to an executor without any', async () => {
    const executor = await test.connected('e1', { slots: 0 });
    const executionId = await test.place();
    await test.flushed();
    expect(executor.offered).toEqual([]);
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
  });
});

describe('a submission that no connected executor could run', () => {
  const placeNow = (selector: Record<string, string> = {}) =>
    test.submit(makeContract(), { selector, options: noWait });
  const whyQueued = async (executionId: string) =>
    (await test.events(executionId)).flatMap(({ event }) => (event?.$case === 'queued' ? [event.value] : []));

  it('is refused at once where it may not wait', async () => {
    await expect(placeNow()).rejects.toEqual(rejected('NO_MATCHING_EXECUTOR'));
    const executor = await test.connected('e1', { labels: { pool: 'a' } });
    await expect(placeNow({ pool: 'b' })).rejects.toEqual(rejected('NO_MATCHING_EXECUTOR'));
    await test.place({ selector: { pool: 'a' } });
    await expect(placeNow({ pool: 'b' })).rejects.toEqual(rejected('NO_MATCHING_EXECUTOR'));
    executor.disconnect();
    await expect(placeNow()).rejects.toEqual(rejected('NO_MATCHING_EXECUTOR'));
  });

  it('waits for one, and says what it waits for', async () => {
    const busy = await test.connected('e1', { labels: { pool: 'a' } });
    const waiting = await test.place({ selector: { pool: 'b' } });
    const reason =
      'no connected executor with the labels pool=b takes what is run under the policy "default"; connected: e1 (pool=a)';
    expect(await whyQueued(waiting)).toEqual([{ position: 0, reason }]);
    const late = await test.connected('e2', { labels: { pool: 'b' } });
    await late.next('offer', waiting);
    expect(busy.offered).toEqual([]);
  });

  it('ends with what it waited for, once its policy has it wait no longer, or as its submitter asks', async () => {
    const { executionId } = await test.submit(makeContract(), { policyProfile: 'limited' });
    const options = { receiptVersion: '', queueTimeout: toDuration(40_000) };
    const longer = await test.submit(makeContract(), { options, principal: other });
    test.clock.advance(29_999);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
    test.clock.advance(1);
    await test.sweep();
    const { execution } = await test.as(agent).getExecution({ executionId });
    expect(execution).toMatchObject({
      state: ExecutionState.EXPIRED,
      error: 'no executor took it in time: no executor is connected',
    });
    expect(await test.state(longer.executionId, other)).toBe(ExecutionState.QUEUED);
  });

  it('tells another version of its policy as that, with both hashes', async () => {
    const policy = test.policies.byName('default');
    const executor = test.executor('e1', { policySha256s: ['f'.repeat(64)] });
    await executor.connect([], { policies: [{ name: 'default', sha256: 'f'.repeat(64) }] });
    const [{ reason } = { reason: '' }] = await whyQueued(await test.place());
    expect(reason).toContain(`decides by, ${policy?.sha256} (e1 has ${'f'.repeat(64)})`);
  });

  it('names no host on which its principal may run nothing', async () => {
    const bindings = [{ identity: agent, policies: ['default'], hosts: { tier: 'build' } }];
    await test.publish({ bindings: { bindings } });
    const renewed = { labels: { tier: 'build' }, policySha256s: [] };
    await test.connected('hidden', { labels: { secret: 'yes' }, policySha256s: [] });
    await test.connected('shown', renewed);
    // No longer about to say Hello with what the owners have published.
    test.clock.advance(10_000);
    const [{ reason } = { reason: '' }] = await whyQueued(await test.place());
    expect(reason).toContain('connected: shown (tier=build)');
    expect(reason).not.toMatch(/hidden|secret/);
  });

  it('leaves room in the queue for others', async () => {
    await test.place({ selector: { pool: 'nowhere' } });
    await expect(test.place({ selector: { pool: 'elsewhere' } })).rejects.toEqual(rejected('QUEUE_FULL'));
    const { state } = await test.submit(makeContract(), { principal: other });
    expect(state).toBe(ExecutionState.QUEUED);
  });
});

describe('a submission', () => {
  it('is refused where too many wait', async () => {
    await test.connected('e1');
    for (let count = 0; count < 4; count++) await test.place();
    await expect(test.place()).rejects.toMatchObject({ code: 'QUEUE_FULL', retryAfterMs: 2000 });
  });
});

describe('an execution that waits too long', () => {
  it('ends as expired, with a receipt that the gate has signed', async () => {
    const executor = await test.connected('e1');
    const running = await test.place();
    const contract = makeContract();
    const { executionId } = await test.submit(contract);
    test.clock.advance(59_999);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
    test.clock.advance(1);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.EXPIRED);
    const receipt = await test.receipt(executionId);
    expect(receipt).toMatchObject({
      receipt_version: 'csc.receipt.v0.2',
      status: 'expired',
      contract_id: contract.contract_id,
      execution_id: executionId,
    });
    const keys = createKeyRing([{ keyId: test.signer.keyId, publicKey: test.signer.publicKey }]);
    verifyArtifact(receipt as JsonObject, keys);
    await executor.finish(await executor.next('offer', running));
    await test.flushed();
    expect(executor.offered).toEqual([running]);
  });

  it('waits no longer than its caller wants, nor than the gate allows', async () => {
    await test.connected('e1');
    await test.place();
    const options = (ms: number) => ({ receiptVersion: '', queueTimeout: toDuration(ms) });
    const short = await test.submit(makeContract(), { options: options(5_000) });
    const long = await test.submit(makeContract(), { options: options(3_600_000) });
    test.clock.advance(5_000);
    await test.sweep();
    expect(await test.state(short.executionId)).toBe(ExecutionState.EXPIRED);
    expect(await test.state(long.executionId)).toBe(ExecutionState.QUEUED);
    test.clock.advance(55_000);
    await test.sweep();
    expect(await test.state(long.executionId)).toBe(ExecutionState.EXPIRED);
  });

  it('does not expire once it was offered', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    test.clock.advance(120_000);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    await executor.accept(executionId);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
  });

  it('expires although the gate was closed meanwhile', async () => {
    await test.connected('e1');
    await test.place();
    const waiting = await test.place();
    test.clock.advance(60_000);
    await test.reopen();
    await test.sweep();
    expect(await test.state(waiting)).toBe(ExecutionState.EXPIRED);
  });
});

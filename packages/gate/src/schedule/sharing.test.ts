import type { JsonObject } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { bindingsFromJson } from '@csc-fleet/common/policy';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import { agent, other, type TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { describe, expect, it } from 'vitest';

let test: TestGate;

openGateForEach(
  (it) => {
    test = it;
  },
  { limits: { maxQueued: 3, queueTimeoutSec: 60 } },
);

const rejected = (code: string) => expect.objectContaining({ code });

describe('principals that share a gate', () => {
  /** A gate whose bindings limit `agent`, and not `other`. */
  async function limit(limits: JsonObject, maxQueued = 1000): Promise<void> {
    const bindings = [
      { identity: agent, policies: ['default'], limits },
      { identity: 'spiffe://csc.local/client/*', policies: ['default'] },
    ];
    const parsed = bindingsFromJson({ bindings_version: 'csc.bindings.v0.2', bindings });
    await test.reopen({
      limits: { maxQueued },
      bindings: orThrow(parsed, 'POLICY_INVALID', 'bindings'),
    });
  }
  const placeFor = async (principal: string) =>
    (await test.submit(makeContract(), { principal })).executionId;
  const placeMany = (count: number) =>
    Promise.allSettled(Array.from({ length: count }, () => placeFor(agent)));
  const refusals = (results: PromiseSettledResult<string>[]) =>
    results.flatMap((it) => (it.status === 'rejected' ? [it.reason] : []));

  it('get their turns: a single one waits for one slot, and not behind all of another’s, also after a restart', async () => {
    await limit({});
    const executor = await test.connected('e1');
    const running = await placeFor(agent);
    await placeMany(50);
    const single = await placeFor(other);
    await test.reopen();
    await executor.connect([running]);
    await executor.finish(await executor.next('offer', running));
    await executor.next('offer', single);
    expect(executor.offered).toEqual([running, single]);
  });

  it('have no more running than the owners let them, also at once and after a restart', async () => {
    await limit({ running: 1 });
    const executor = await test.connected('e1', { slots: 3 });
    await placeMany(3);
    await test.flushed();
    expect(executor.offered).toHaveLength(1);
    await executor.next('offer', await placeFor(other));
    const { waiting } = await test.as(agent).getStatus();
    expect(waiting.map(({ reason }) => reason)).toContainEqual(expect.stringContaining('limits.running'));
    const held = [...executor.offered];
    await test.reopen();
    await executor.connect(held);
    await test.flushed();
    expect(executor.offered).toEqual(held);
    await executor.finish(await executor.next('offer', held[0]));
    await test.flushed();
    expect(executor.offered).toHaveLength(3);
  });

  it('have no more waiting than the owners let them, also at once', async () => {
    await limit({ queued: 2 });
    await test.connected('e1');
    const refused = refusals(await placeMany(8));
    expect(refused).toHaveLength(5);
    for (const error of refused)
      expect(error).toMatchObject({
        code: 'QUEUE_FULL',
        retryAfterMs: 2000,
        message: expect.stringContaining('limits.queued'),
      });
    await placeFor(other);
  });

  it('are not shut out by one that has filled the queue', async () => {
    await limit({}, 20);
    await test.connected('e1');
    expect(refusals(await placeMany(30))).toHaveLength(9);
    await placeFor(other);
    await expect(placeFor(agent)).rejects.toEqual(rejected('QUEUE_FULL'));
    await expect(placeFor(other)).rejects.toEqual(rejected('QUEUE_FULL'));
  });

  it('submit no faster than the owners let them; what they have submitted already is not counted again', async () => {
    await limit({ submissions_per_min: 2 });
    const submit = (idempotencyKey: string) => test.submit(makeContract(), { idempotencyKey });
    const contract = makeContract();
    await test.submit(contract, { idempotencyKey: 'one' });
    await test.submit(contract, { idempotencyKey: 'one' });
    await submit('two');
    await expect(submit('three')).rejects.toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 30_000 });
    await placeFor(other);
    test.clock.advance(30_000);
    await submit('three');
  });

  it('have no more stored in a day than the owners let them', async () => {
    await limit({ stored_bytes_per_day: 3000 });
    await expect(placeFor(agent)).rejects.toMatchObject({ code: 'RATE_LIMITED' });
    await placeFor(other);
  });
});

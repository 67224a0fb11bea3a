import { ExecutionState } from '@csc-fleet/common/rpc';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Retention } from './retention.ts';

let test: TestGate;

beforeEach(async () => {
  test = await TestGate.open();
});

afterEach(async () => {
  await test.close();
  expect(test.errors).toEqual([]);
});

const rejected = (code: string) => expect.objectContaining({ code });

describe('what is over', () => {
  const day = 24 * 3_600_000;
  let executor: ScriptedExecutor;
  const counts = { outputs: 0, outputBytes: 0, records: 0, receipts: 0, keptOutputBytes: 0 };

  async function openWith(maxBytes?: number): Promise<void> {
    await test.close();
    const retention = { maxAgeDays: 30, receiptsDays: 60, ...(maxBytes === undefined ? {} : { maxBytes }) };
    const bindings = [{ identity: agent, policies: ['default'], roles: ['admin'] as const }];
    test = await TestGate.open({ retention, bindings: { bindings } });
    executor = await test.connected('e1', { slots: 5 });
  }

  async function runOne(bytes = 5): Promise<{ executionId: string; length: number }> {
    const { executionId } = await test.submit(makeContract());
    const offer = await executor.next('offer', executionId);
    await executor.accept(executionId);
    const length = await executor.push(executionId, 0, 0, 'x'.repeat(bytes));
    await executor.finish(offer);
    return { executionId, length };
  }

  const read = (executionId: string) =>
    test.as(agent).readOutput({ executionId, from: [], follow: false }, async () => undefined);

  it('says so to whoever is reading when it goes, and where what is kept begins', async () => {
    await openWith();
    const { executionId } = await test.submit(makeContract());
    const offer = await executor.next('offer', executionId);
    await executor.accept(executionId);
    // More than is read at once.
    const size = 60_000;
    let length = 0;
    for (let at = 0; at < 10; at++)
      length = await executor.push(executionId, length, at * size, 'x'.repeat(size));
    await executor.finish(offer);
    test.clock.advance(30 * day);
    const taken = Promise.withResolvers<void>();
    const stalled = Promise.withResolvers<void>();
    const reading = test.as(agent).readOutput({ executionId, from: [], follow: false }, async () => {
      taken.resolve();
      await stalled.promise;
    });
    await taken.promise;
    await test.as(agent).prune(false);
    stalled.resolve();
    await expect(reading).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    await expect(read(executionId)).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    await test.reopen();
    await expect(read(executionId)).rejects.toThrow(/the first offsets that are kept are the ends/);
  });

  it('keeps its receipt when its output goes, and is forgotten when that goes', async () => {
    await openWith();
    const { executionId, length } = await runOne();
    const receipt = await test.receipt(executionId);
    const running = await test.submit(makeContract());
    await executor.accept(running.executionId);
    test.clock.advance(30 * day - 1);
    expect(await test.as(agent).prune(false)).toEqual({ ...counts, keptOutputBytes: length });
    test.clock.advance(1);
    const due = { ...counts, outputs: 1, outputBytes: length, records: 1 };
    expect(await test.as(agent).prune(true)).toEqual(due);
    await read(executionId);
    expect(await test.as(agent).prune(false)).toEqual(due);
    test.clock.advance(day);
    expect(await test.as(agent).prune(false)).toEqual(counts);
    await expect(read(executionId)).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    await test.reopen();
    await expect(read(executionId)).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    expect(await test.receipt(executionId)).toEqual(receipt);
    const events = await test.events(executionId);
    expect(events.map((it) => [it.sequence, it.event?.$case])).toEqual([[1, 'finished']]);
    test.clock.advance(30 * day);
    expect(await test.as(agent).prune(true)).toEqual({ ...counts, receipts: 1 });
    expect(await test.as(agent).prune(false)).toEqual({ ...counts, receipts: 1 });
    await expect(test.receipt(executionId)).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
    // What is not over is not touched, however old.
    expect(await test.state(running.executionId)).toBe(ExecutionState.RUNNING);
  });

  it('goes before its time where there is too much, the oldest first, and never what has just ended', async () => {
    await openWith(1);
    const first = await runOne();
    expect(await test.as(agent).prune(false)).toMatchObject({ records: 0 });
    test.clock.advance(3_600_000);
    const second = await runOne();
    expect(await test.as(agent).prune(false)).toMatchObject({ records: 1, outputs: 1 });
    await expect(read(first.executionId)).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    await read(second.executionId);
    const ended_at = new Date(test.clock.now().getTime() - day).toISOString();
    const whole = [1, 2, 3].map((number) => ({ number, execution_id: String(number), ended_at, bytes: 10 }));
    const went: string[] = [];
    const retainer = new Retention({
      store: {
        whole: async (after) => whole.filter(({ number }) => number > after),
        strip: async (ids) => void went.push(...ids),
        forgettable: async () => [],
        forget: async () => undefined,
        pruneAudit: async () => 0,
        usedBytes: async () => 100,
      },
      output: {
        bytes: async () => 150,
        size: async () => 50,
        remove: async () => undefined,
      },
      retention: { maxAgeDays: 30, receiptsDays: 60, maxBytes: 180 },
      clock: test.clock,
      onNotice: () => undefined,
      onError: () => undefined,
    });
    expect(await retainer.prune('forget')).toMatchObject({
      outputs: 2,
      outputBytes: 100,
      keptOutputBytes: 50,
    });
    expect(went).toEqual(['1', '2']);
  });
});

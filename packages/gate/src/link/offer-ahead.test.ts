import { ExecutionState } from '@csc-fleet/common/messages';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import type { TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { describe, expect, it } from 'vitest';

let test: TestGate;

openGateForEach((it) => {
  test = it;
});

describe('an executor that leaves while its offer is being written', () => {
  // The commit begins in the next turn of the event loop.
  const beforeTheCommit = () => new Promise<void>((resolve) => process.nextTick(resolve));

  it('has what was to be offered taken back when it is gone', async () => {
    const executor = await test.connected('e1');
    const submitting = test.submit(makeContract());
    await beforeTheCommit();
    executor.disconnect();
    const { executionId } = await submitting;
    await test.flushed();
    expect(executor.offered).toEqual([]);
    const other = await test.connected('e2');
    await other.next('offer', executionId);
  });

  it('has it offered to one other executor, once', async () => {
    const executor = await test.connected('e1');
    const others = [await test.connected('e2'), await test.connected('e3')];
    const submitting = test.submit(makeContract());
    await beforeTheCommit();
    executor.disconnect();
    const { executionId } = await submitting;
    await test.flushed();
    await test.flushed();
    expect([executor, ...others].flatMap((it) => it.offered)).toEqual([executionId]);
    // The one slot that is left is free.
    const next = await test.submit(makeContract());
    await test.flushed();
    expect(others.flatMap((it) => it.offered).sort()).toEqual([executionId, next.executionId].sort());
  });

  it('is offered it over the new connection where it is back already', async () => {
    const executor = await test.connected('e1');
    const submitting = test.submit(makeContract());
    await beforeTheCommit();
    executor.disconnect();
    await executor.connect();
    const { executionId } = await submitting;
    await executor.next('offer', executionId);
    await test.flushed();
    expect(executor.offered).toEqual([executionId]);
  });
});

describe('an executor that waits for what is yet to be written down', () => {
  const beforeTheCommit = () => new Promise<void>((resolve) => process.nextTick(resolve));
  const said: (readonly [string, number | undefined, unknown])[] = [];
  // With what is on disk at that moment.
  const connected = (name: string, slots = 1) => {
    said.length = 0;
    const ids = new Map<number, string>();
    return test.connected(name, {
      confirms: true,
      slots,
      onMessage(message) {
        if (message.$case !== 'offer' && message.$case !== 'confirm') return;
        const { number = 0 } = message.value;
        if (message.$case === 'offer') ids.set(number, message.value.executionId);
        const isVoid = message.$case === 'confirm' && message.value.void;
        said.push([isVoid ? 'void' : message.$case, number, test.storedState(ids.get(number) ?? '')]);
      },
    });
  };

  it('has the offer before it is on disk, and hears once it is; so from the queue', async () => {
    const executor = await connected('e1');
    const first = await test.place();
    const queued = await test.place();
    await executor.finish(await executor.next('offer', first));
    await executor.next('offer', queued);
    await test.flushed();
    expect(said).toEqual([
      ['offer', 1, undefined],
      ['confirm', 1, ExecutionState.OFFERED],
      ['offer', 2, ExecutionState.QUEUED],
      ['confirm', 2, ExecutionState.OFFERED],
    ]);
  });

  it('hears that it never was where it is not written down, and has its slot back', async () => {
    const executor = await connected('e1', 2);
    const [contract, key] = [makeContract(), { idempotencyKey: 'one' }];
    const both = await Promise.all([test.submit(contract, key), test.submit(contract, key)]);
    expect(new Set(both.map(({ executionId }) => executionId)).size).toBe(1);
    expect(said.map(([kind, number]) => [kind, number])).toEqual([
      ['offer', 1],
      ['offer', 2],
      ['confirm', 1],
      ['void', 2],
    ]);
    await executor.next('offer', await test.place());
  });

  it('hears nothing more where it has left, and another gets it, once', async () => {
    const executor = await connected('e1');
    const other = await test.connected('e2');
    await executor.finish(await executor.next('offer', await test.place()));
    const submitting = test.submit(makeContract());
    await beforeTheCommit();
    executor.disconnect();
    const { executionId } = await submitting;
    await test.flushed();
    await test.flushed();
    expect(executor.all('confirm')).toHaveLength(1);
    expect(other.offered).toEqual([executionId]);
  });

  it('is offered it again where its gate had gone before it said so', async () => {
    const executor = await connected('e1');
    const executionId = await test.place();
    executor.disconnect();
    await test.reopen();
    // It waited in vain, and has nothing of it.
    await executor.connect([]);
    await test.flushed();
    expect(executor.offered).toEqual([executionId, executionId]);
    const [one, two] = executor.all('offer').map(({ ticketJson }) => ticketJson.toString());
    expect(one).not.toBe(two);
  });
});

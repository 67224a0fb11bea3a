import { ExecutionState } from '@csc-fleet/common/messages';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import type { TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { describe, expect, it } from 'vitest';

let test: TestGate;

openGateForEach((it) => {
  test = it;
});

describe('an executor whose certificate says its labels', () => {
  it('gets in with those, and with no other or another value', async () => {
    const executor = await test.connected('e1');
    executor.disconnect();
    executor.certified = { os: 'linux', pool: 'ci' };
    await executor.connect([], { labels: { os: 'linux', pool: 'ci' } });
    expect(executor.hungUp).toBeUndefined();
    executor.disconnect();
    for (const labels of [{ os: 'linux', role: 'deploy' }, { os: 'mac' }, { toString: '' }]) {
      await executor.connect([], { labels });
      expect(executor.hungUp).toMatchObject({ code: 'CREDENTIALS_INVALID' });
      expect(test.errors.splice(0)).toContain(executor.hungUp);
    }
  });
});

describe('a second connection of the same executor', () => {
  it('replaces the first, whose end then changes nothing', async () => {
    const executor = test.executor('e1', { slots: 2 });
    const old = executor.open();
    old.receive({ message: { $case: 'hello', value: executor.hello() } });
    await executor.settled();
    await executor.connect();
    old.closed();
    const executionId = await test.place();
    await executor.accept(executionId);
    await test.waitUntilLost();
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    expect(executor.offered).toEqual([executionId]);
  });

  it('knows what was offered over the first', async () => {
    const executor = test.executor('e1', { slots: 2 });
    await executor.connect();
    const [offered, running] = [await test.place(), await test.place()];
    await executor.accept(running);
    await executor.connect([running]);
    await executor.next('offer', offered, 1);
    expect(await test.state(running)).toBe(ExecutionState.RUNNING);
    expect(executor.all('offer', running)).toHaveLength(1);
    const waiting = await test.place();
    expect(await test.state(waiting)).toBe(ExecutionState.QUEUED);
  });

  it('is refused with another receipt key: two hosts may have the same certificate', async () => {
    const executor = await test.connected('e1');
    const impostor = await test.connected('e1');
    expect(impostor.hungUp).toMatchObject({ code: 'CREDENTIALS_INVALID' });
    expect(test.errors.splice(0)).toContain(impostor.hungUp);
    const executionId = await test.place();
    expect(executor.offered).toEqual([executionId]);
    executor.disconnect();
    await impostor.connect();
    expect(impostor.hungUp).toBeUndefined();
  });
});

describe('what an executor says of executions that are not its own', () => {
  it('changes nothing', async () => {
    const first = await test.connected('e1');
    const executionId = await test.place();
    const second = await test.connected('e2');
    await second.accept(executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    await first.accept(executionId);
    await second.started(executionId);
    await second.exited(executionId);
    await test.flushed();
    expect(await test.kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'started']);
    second.disconnect();
    await second.connect([executionId]);
    await first.finish(await first.next('offer'));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('changes nothing of commands that the contract does not have, or for a second time', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    await executor.accept(executionId);
    await executor.accept(executionId);
    await executor.started(executionId, 'another');
    await executor.started(executionId);
    await executor.started(executionId);
    await executor.exited(executionId, '', 'another');
    await executor.exited(executionId);
    await executor.exited(executionId);
    await executor.finish(await executor.next('offer'));
    expect((await test.kinds(executionId)).slice(3)).toEqual([
      'started',
      'commandStarted',
      'commandExited',
      'finished',
    ]);
  });
});

describe('the first message of a connection', () => {
  it('must be Hello', async () => {
    const executor = test.executor('e1');
    executor.open();
    await executor.settled();
    expect(executor.hungUp).toMatchObject({ code: 'REQUEST_INVALID', faults: [{ path: 'hello' }] });
    expect(test.errors.splice(0)).toContain(executor.hungUp);
    expect(executor.received).toEqual([]);
  });

  it('may come too late: nothing is left of a connection that ended before its Hello was taken', async () => {
    const executor = test.executor('e1');
    const session = executor.open();
    session.receive({ message: { $case: 'hello', value: executor.hello() } });
    session.closed();
    await test.flushed();
    const { executionId } = await test.submit(makeContract());
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
  });

  it('is answered with the gate’s name and how often to be heard', async () => {
    const executor = await test.connected('e1');
    expect(executor.received[0]).toMatchObject({
      $case: 'welcome',
      value: { gateId: 'test', heartbeatInterval: { seconds: 10, nanos: 0 }, sentAt: test.clock.now() },
    });
  });
});

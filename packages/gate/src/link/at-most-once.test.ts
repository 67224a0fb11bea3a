import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { signChainHead } from '@csc-fleet/common/evidence';
import { ExecutionState, type Hello } from '@csc-fleet/common/messages';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, executorLostAfterSec, type TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveExecution } from '../execution/execution.ts';
import { backUpGate, restoreGate } from '../service/backup.ts';

let test: TestGate;

openGateForEach((it) => {
  test = it;
});

describe('an executor that leaves between the offer and its answer', () => {
  let first: ScriptedExecutor;
  let second: ScriptedExecutor;
  let executionId: string;

  beforeEach(async () => {
    first = await test.connected('e1');
    executionId = await test.place();
    second = await test.connected('e2', { slots: 5 });
    first.disconnect();
  });

  const untouched = async () => {
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    expect(second.offered).toEqual([]);
  };

  it('keeps the execution: nobody else is offered it', async () => {
    await untouched();
    const next = await test.place();
    await second.finish(await second.next('offer', next));
    second.disconnect();
    await second.connect();
    test.clock.advance((executorLostAfterSec - 1) * 1000);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    expect(second.offered).toEqual([next]);
  });

  it('is offered it again when it comes back without it, with a new ticket', async () => {
    await untouched();
    second.disconnect();
    await first.connect();
    const [old, renewed] = [
      await first.next('offer', executionId),
      await first.next('offer', executionId, 1),
    ];
    expect(ticketOf(renewed.ticketJson)).not.toBe(ticketOf(old.ticketJson));
    expect(await test.kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'queued', 'placed']);
  });

  // Its Hello is older than what it is offered while a disk that is full is waited for, and says nothing of that.
  it('keeps what it is offered after it came back, where what it came back without cannot be written down at once', async () => {
    second.disconnect();
    let next = '';
    vi.spyOn(LiveExecution.prototype, 'advance').mockImplementationOnce(async () => {
      next = await test.place();
      await first.next('offer', next);
      throw new CscError('STORE_UNAVAILABLE', 'the disk is full', { retryAfterMs: 1 });
    });
    await first.connect([], { slots: 5 });
    await test.flushed();
    expect(await test.kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'queued', 'placed']);
    expect(await test.kinds(next)).toEqual(['decided', 'queued', 'placed']);
    await first.finish(await first.next('offer', next));
    expect(await test.state(next)).toBe(ExecutionState.SUCCEEDED);
  });

  /** What is to be written next fails once, after `meanwhile`. */
  const failOnce = (meanwhile: () => Promise<unknown> = async () => undefined) =>
    vi.spyOn(LiveExecution.prototype, 'advance').mockImplementationOnce(async () => {
      await meanwhile();
      throw new CscError('STORE_UNAVAILABLE', 'the disk is full', { retryAfterMs: 1 });
    });

  it('rests once for what it came back without, however often the disk has to be asked', async () => {
    second.disconnect();
    failOnce();
    await first.connect();
    await expect.poll(() => first.offered).toEqual([executionId, executionId]);
  });

  const none = { receiptJson: Buffer.alloc(0), originalJson: Buffer.alloc(0), lasting: false };

  /** Nobody but `second` has it, although `first` could. */
  const stays = async (next: string) => {
    await first.connect([], { slots: 5 });
    await test.flushed();
    expect(await test.state(next)).toBe(ExecutionState.OFFERED);
    expect(first.offered).not.toContain(next);
    await second.connect([next]);
    await second.finish(await second.next('offer', next, 1));
    expect(await test.state(next)).toBe(ExecutionState.SUCCEEDED);
  };

  // A connection whose other end is gone: what came of it is still waited for while the host is back on another one.
  it('keeps what it is offered after it came back, where what it had refused cannot be written down at once', async () => {
    const next = await test.place();
    const failed = new Promise<void>((resolve) => {
      failOnce(async () => {
        await second.connect();
        await second.next('offer', next, 1);
        second.disconnect();
        resolve();
      });
    });
    await second.refuse(next, 'SANDBOX_UNAVAILABLE');
    await failed;
    await stays(next);
  });

  it('keeps it, whatever is still heard of the offer before over the connection before', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const before = second.open();
    second.say({ $case: 'hello', value: second.hello() });
    const next = await test.place();
    await second.next('offer', next);
    await second.connect();
    // It has lost its offers twice by now, and rests.
    await vi.advanceTimersByTimeAsync(5_000);
    await second.next('offer', next, 1);
    const refused = { executionId: next, reason: 'SANDBOX_UNAVAILABLE', message: 'no descriptors', ...none };
    before.receive({ message: { $case: 'refused', value: refused } });
    await test.flushed();
    await stays(next);
  });

  it('leaves it to another executor when it comes back without it and busy', async () => {
    await untouched();
    await first.connect([], { slots: 0 });
    await second.next('offer', executionId);
    await second.accept(executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    expect(first.offered).toEqual([executionId]);
  });

  it('runs it when it comes back with it', async () => {
    await untouched();
    await first.connect([executionId]);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    await first.finish(await first.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(first.offered).toEqual([executionId]);
    expect(second.offered).toEqual([]);
  });

  it('has its slot taken by it when it comes back with it', async () => {
    await first.connect([executionId]);
    second.disconnect();
    const waiting = await test.place();
    expect(await test.state(waiting)).toBe(ExecutionState.QUEUED);
    await first.finish(await first.next('offer', executionId));
    await first.next('offer', waiting);
  });

  it('has lost it after a while; then it ends where it comes back without it, and is not run', async () => {
    await test.waitUntilLost();
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
    await first.connect();
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.EXPIRED);
    expect(await test.receipt(executionId)).toMatchObject({ status: 'expired', completed_command_ids: [] });
    expect(first.offered).toEqual([executionId]);
    expect(second.offered).toEqual([]);
  });

  it('is cancelled, where that was asked for while it was lost, once it comes back without it', async () => {
    await test.waitUntilLost();
    await test.as(agent).cancel({ executionId, gracePeriod: undefined });
    await first.connect();
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.CANCELLED);
    expect(await test.receipt(executionId)).toMatchObject({ status: 'blocked', ended: 'cancelled' });
  });
});

describe('an executor that was LOST with what it was offered', () => {
  const epoch = 'e'.repeat(32);
  let first: ScriptedExecutor;
  let second: ScriptedExecutor;
  let executionId: string;

  beforeEach(async () => {
    await test.reopen({ limits: { queueTimeoutSec: 2 * executorLostAfterSec } });
    first = test.executor('e1');
    await first.connect([], { epoch, chainHeadJson: head(2) });
    executionId = await test.place();
    first.disconnect();
    second = await test.connected('e2', { slots: 5 });
  });

  const head = (sequence: number) =>
    signChainHead(
      first.identity.uri,
      { epoch, sequence, receiptSha256: 'a'.repeat(64) },
      first.signer,
      test.clock.now(),
    );
  const comeBack = async (hello: Partial<Hello> = {}) => {
    await first.connect([], { epoch, slots: 0, chainHeadJson: head(2), ...hello });
    await test.flushed();
  };

  it('leaves it to another where it comes back without it in time, under a new ticket', async () => {
    await test.waitUntilLost();
    const watched = test.kinds(executionId);
    expect((await watched).at(-1)).toBe('finished');
    await comeBack();
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    const offer = await second.next('offer', executionId);
    expect(ticketOf(offer.ticketJson)).not.toBe(ticketOf((await first.next('offer')).ticketJson));
    // What it starts all the same is evidence, and it is told to end it.
    await first.accept(executionId);
    expect(first.all('cancel', executionId)).toHaveLength(1);
    expect(test.errors.splice(0)).toMatchObject([{ code: 'TICKET_EXPIRED' }]);
    await second.accept(executionId);
    await second.finish(offer);
    const { execution } = await test.as(agent).getExecution({ executionId });
    expect(execution).toMatchObject({ state: ExecutionState.SUCCEEDED, executorId: 'e2', error: '' });
    const told = ['placed', 'lost', 'queued', 'placed', 'started', 'finished'];
    expect((await test.kinds(executionId)).slice(-told.length)).toEqual(told);
  });

  it('has it ended where its time in the queue is over by then', async () => {
    await test.waitUntilLost();
    test.clock.advance(executorLostAfterSec * 1000);
    await comeBack();
    expect(await test.state(executionId)).toBe(ExecutionState.EXPIRED);
    expect(second.offered).toEqual([]);
  });

  it.each(['LOST', 'OFFERED'])(
    'leaves it to nobody where its journal is another by then, which may have run it: %s',
    async (state) => {
      if (state === 'LOST') await test.waitUntilLost();
      await comeBack({ epoch: 'f'.repeat(32), chainHeadJson: Buffer.alloc(0) });
      expect(await test.state(executionId)).toBe(ExecutionState.LOST);
      expect(second.offered).toEqual([]);
    },
  );

  it.each(['LOST', 'OFFERED'])('nor where its journal was taken back in time: %s', async (state) => {
    if (state === 'LOST') await test.waitUntilLost();
    test.clock.advance(1000);
    await comeBack({ chainHeadJson: head(1) });
    expect(test.errors.splice(0)).toMatchObject([{ code: 'RECEIPT_INVALID' }]);
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
    expect(second.offered).toEqual([]);
  });

  it('nor where its gate was taken back in time', async () => {
    const backup = `${test.directory}-backup`;
    await backUpGate(test.directory, backup);
    await test.stop();
    rmSync(join(test.directory, 'gate.db'));
    await restoreGate(test.directory, backup);
    rmSync(backup, { recursive: true });
    await test.reopen();
    await second.connect();
    await comeBack();
    expect(await test.state(executionId)).toBe(ExecutionState.EXPIRED);
    expect(second.offered).toEqual([]);
  });

  it('leaves it to another where it names it in its Hello, and refuses it then as the link had broken', async () => {
    await first.connect([executionId], { epoch, chainHeadJson: head(2) });
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    await first.refuse(executionId, 'DRAINING');
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    await second.finish(await second.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('but not where it has said since that it runs', async () => {
    await first.connect([executionId], { epoch, chainHeadJson: head(2) });
    await first.accept(executionId);
    await first.refuse(executionId, 'DRAINING');
    expect(await test.state(executionId)).toBe(ExecutionState.BLOCKED);
    expect(second.offered).toEqual([]);
  });
});

function ticketOf(ticketJson: Buffer): unknown {
  return JSON.parse(ticketJson.toString()).ticket_id;
}

describe('an executor that leaves while it runs something', () => {
  let executor: ScriptedExecutor;
  let executionId: string;

  beforeEach(async () => {
    executor = await test.connected('e1');
    executionId = await test.place();
    await executor.accept(executionId);
    executor.disconnect();
  });

  it('goes on with it when it comes back', async () => {
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    await executor.connect([executionId]);
    await executor.started(executionId);
    await executor.exited(executionId);
    await executor.finish(await executor.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(await test.kinds(executionId)).toEqual([
      'decided',
      'queued',
      'placed',
      'started',
      'commandStarted',
      'commandExited',
      'finished',
    ]);
  });

  it('may come back with the receipt', async () => {
    await executor.connect([executionId]);
    await executor.finish(await executor.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('has lost it when it comes back with an empty journal', async () => {
    const other = await test.connected('e2');
    await executor.connect([]);
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
    await test.flushed();
    expect(executor.offered).toEqual([executionId]);
    expect(other.offered).toEqual([]);
    const [finished] = (await test.events(executionId)).slice(-1);
    expect(finished?.event).toMatchObject({
      $case: 'finished',
      value: { execution: { state: ExecutionState.LOST }, receiptJson: Buffer.alloc(0) },
    });
    await expect(test.receipt(executionId)).rejects.toMatchObject({ code: 'EXECUTION_UNKNOWN' });
  });

  it('has lost it after a while, and not before', async () => {
    await test.sweep();
    test.clock.advance(executorLostAfterSec * 1000 - 1);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    test.clock.advance(1);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
  });

  it.each(['the gate that lost it', 'a gate that was reopened'])(
    'wins with a late receipt: %s',
    async (gate) => {
      await test.waitUntilLost();
      if (gate !== 'the gate that lost it') await test.reopen();
      await executor.connect([executionId]);
      const offer = await executor.next('offer', executionId);
      await executor.finish(offer, { receipt: { status: 'failed', exit_code: 3 } });
      const { execution } = await test.as(agent).getExecution({ executionId });
      expect(execution).toMatchObject({ state: ExecutionState.FAILED, exitCode: 3 });
      expect(await test.receipt(executionId)).toMatchObject({ status: 'failed', exit_code: 3 });
      // Whoever reads from here on is told one end only: the real one.
      expect((await test.kinds(executionId)).slice(3)).toEqual(['started', 'lost', 'returned', 'finished']);
    },
  );

  it('goes on where it comes back with it after it was lost: its progress counts, and its end can be asked for', async () => {
    await test.waitUntilLost();
    expect((await test.kinds(executionId)).at(-1)).toBe('finished');
    await executor.connect([executionId]);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    const { taken, ended } = watched();
    await executor.started(executionId);
    await test.as(agent).cancel({ executionId, gracePeriod: undefined });
    await executor.next('cancel', executionId);
    await executor.exited(executionId);
    await executor.finish(await executor.next('offer', executionId));
    await ended;
    expect(taken.slice(3)).toEqual([
      'started',
      'lost',
      'returned',
      'commandStarted',
      'cancelling',
      'commandExited',
      'finished',
    ]);
  });

  it('is lost again where it leaves again, and its receipt is still awaited', async () => {
    await test.waitUntilLost();
    await executor.connect([executionId]);
    executor.disconnect();
    await test.waitUntilLost();
    expect((await test.kinds(executionId)).slice(3)).toEqual(['started', 'lost', 'returned', 'finished']);
    await test.reopen();
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
    await executor.connect([executionId]);
    await executor.finish(await executor.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('is told to have come back so often only: an executor that flaps does not fill the store, and its receipt counts', async () => {
    for (let times = 0; times < 20; times++) {
      await executor.connect([]);
      await executor.connect([executionId]);
    }
    const told = (await test.kinds(executionId)).slice(4);
    expect(told.length).toBeLessThanOrEqual(2 * 8 + 1);
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
    await executor.finish(await executor.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  const watched = () => {
    const taken: (string | undefined)[] = [];
    const read = async () => {
      const events = test.as(agent).watch({ executionId, fromSequence: 0 }, new AbortController().signal);
      for await (const { event } of events) taken.push(event?.$case);
    };
    return { taken, ended: read() };
  };

  it('has the whole time again after it was back', async () => {
    await test.waitUntilLost();
    await executor.connect([executionId]);
    await executor.finish(await executor.next('offer', executionId));
    await test.sweep();
    const next = await test.place();
    await executor.accept(next);
    executor.disconnect();
    await test.sweep();
    expect(await test.state(next)).toBe(ExecutionState.RUNNING);
  });
});

describe('an executor that is lost with several executions', () => {
  it('has lost them all', async () => {
    const executor = await test.connected('e1', { slots: 2 });
    const ids = [await test.place(), await test.place()];
    await executor.accept(ids[0] ?? '');
    executor.disconnect();
    await test.waitUntilLost();
    expect(await Promise.all(ids.map((id) => test.state(id)))).toEqual([
      ExecutionState.LOST,
      ExecutionState.LOST,
    ]);
  });
});

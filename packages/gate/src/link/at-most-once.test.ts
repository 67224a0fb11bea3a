import { readdirSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { signChainHead } from '@csc-fleet/common/evidence';
import { ExecutionState, type Hello } from '@csc-fleet/common/messages';
import { contractForApproval, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, executorLostAfterSec, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveExecution } from '../execution/execution.ts';
import { backUpGate, restoreGate } from '../service/backup.ts';

let test: TestGate;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  test = await TestGate.open();
});

afterEach(async () => {
  await test.close();
  vi.useRealTimers();
  expect(test.errors).toEqual([]);
});

const place = async () => (await test.submit(makeContract())).executionId;

const kinds = async (executionId: string) =>
  (await test.events(executionId)).map(({ event }) => event?.$case);

/** Runs for longer than an executor may be away. */
const waitUntilLost = async () => {
  await test.sweep();
  test.clock.advance(executorLostAfterSec * 1000);
  await test.sweep();
};

describe('an executor that leaves between the offer and its answer', () => {
  let first: ScriptedExecutor;
  let second: ScriptedExecutor;
  let executionId: string;

  beforeEach(async () => {
    first = await test.connected('e1');
    executionId = await place();
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
    const next = await place();
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
    expect(await kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'queued', 'placed']);
  });

  // Its Hello is older than what it is offered while a disk that is full is waited for, and says nothing of that.
  it('keeps what it is offered after it came back, where what it came back without cannot be written down at once', async () => {
    second.disconnect();
    let next = '';
    vi.spyOn(LiveExecution.prototype, 'advance').mockImplementationOnce(async () => {
      next = await place();
      await first.next('offer', next);
      throw new CscError('STORE_UNAVAILABLE', 'the disk is full', { retryAfterMs: 1 });
    });
    await first.connect([], { slots: 5 });
    await test.flushed();
    expect(await kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'queued', 'placed']);
    expect(await kinds(next)).toEqual(['decided', 'queued', 'placed']);
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
    const next = await place();
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
    const next = await place();
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
    const waiting = await place();
    expect(await test.state(waiting)).toBe(ExecutionState.QUEUED);
    await first.finish(await first.next('offer', executionId));
    await first.next('offer', waiting);
  });

  it('has lost it after a while; then it ends where it comes back without it, and is not run', async () => {
    await waitUntilLost();
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
    await first.connect();
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.EXPIRED);
    expect(await test.receipt(executionId)).toMatchObject({ status: 'expired', completed_command_ids: [] });
    expect(first.offered).toEqual([executionId]);
    expect(second.offered).toEqual([]);
  });

  it('is cancelled, where that was asked for while it was lost, once it comes back without it', async () => {
    await waitUntilLost();
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
    await test.close();
    test = await TestGate.open({ limits: { queueTimeoutSec: 2 * executorLostAfterSec } });
    first = test.executor('e1');
    await first.connect([], { epoch, chainHeadJson: head(2) });
    executionId = await place();
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
    await waitUntilLost();
    const watched = kinds(executionId);
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
    expect((await kinds(executionId)).slice(-told.length)).toEqual(told);
  });

  it('has it ended where its time in the queue is over by then', async () => {
    await waitUntilLost();
    test.clock.advance(executorLostAfterSec * 1000);
    await comeBack();
    expect(await test.state(executionId)).toBe(ExecutionState.EXPIRED);
    expect(second.offered).toEqual([]);
  });

  it.each(['LOST', 'OFFERED'])(
    'leaves it to nobody where its journal is another by then, which may have run it: %s',
    async (state) => {
      if (state === 'LOST') await waitUntilLost();
      await comeBack({ epoch: 'f'.repeat(32), chainHeadJson: Buffer.alloc(0) });
      expect(await test.state(executionId)).toBe(ExecutionState.LOST);
      expect(second.offered).toEqual([]);
    },
  );

  it.each(['LOST', 'OFFERED'])('nor where its journal was taken back in time: %s', async (state) => {
    if (state === 'LOST') await waitUntilLost();
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

describe('an executor that leaves while it runs something', () => {
  let executor: ScriptedExecutor;
  let executionId: string;

  beforeEach(async () => {
    executor = await test.connected('e1');
    executionId = await place();
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
    expect(await kinds(executionId)).toEqual([
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
      await waitUntilLost();
      if (gate !== 'the gate that lost it') await test.reopen();
      await executor.connect([executionId]);
      const offer = await executor.next('offer', executionId);
      await executor.finish(offer, { receipt: { status: 'failed', exit_code: 3 } });
      const { execution } = await test.as(agent).getExecution({ executionId });
      expect(execution).toMatchObject({ state: ExecutionState.FAILED, exitCode: 3 });
      expect(await test.receipt(executionId)).toMatchObject({ status: 'failed', exit_code: 3 });
      // Whoever reads from here on is told one end only: the real one.
      expect((await kinds(executionId)).slice(3)).toEqual(['started', 'lost', 'returned', 'finished']);
    },
  );

  it('goes on where it comes back with it after it was lost: its progress counts, and its end can be asked for', async () => {
    await waitUntilLost();
    expect((await kinds(executionId)).at(-1)).toBe('finished');
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
    await waitUntilLost();
    await executor.connect([executionId]);
    executor.disconnect();
    await waitUntilLost();
    expect((await kinds(executionId)).slice(3)).toEqual(['started', 'lost', 'returned', 'finished']);
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
    const told = (await kinds(executionId)).slice(4);
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
    await waitUntilLost();
    await executor.connect([executionId]);
    await executor.finish(await executor.next('offer', executionId));
    await test.sweep();
    const next = await place();
    await executor.accept(next);
    executor.disconnect();
    await test.sweep();
    expect(await test.state(next)).toBe(ExecutionState.RUNNING);
  });
});

describe('an executor that is lost with several executions', () => {
  it('has lost them all', async () => {
    const executor = await test.connected('e1', { slots: 2 });
    const ids = [await place(), await place()];
    await executor.accept(ids[0] ?? '');
    executor.disconnect();
    await waitUntilLost();
    expect(await Promise.all(ids.map((id) => test.state(id)))).toEqual([
      ExecutionState.LOST,
      ExecutionState.LOST,
    ]);
  });
});

describe('a gate that is opened again', () => {
  it('goes on with what waited, in order', async () => {
    await test.connected('e1');
    await place();
    const [first, second] = [await place(), await place()];
    await test.reopen();
    expect(await test.state(first)).toBe(ExecutionState.QUEUED);
    const executor = await test.connected('e2');
    await executor.finish(await executor.next('offer', first));
    await executor.next('offer', second);
    expect(executor.offered).toEqual([first, second]);
  });

  it('does not offer to anybody else what was offered', async () => {
    const first = await test.connected('e1');
    const executionId = await place();
    await test.reopen();
    const second = await test.connected('e2');
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    expect(second.offered).toEqual([]);
    await first.connect([executionId]);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    await first.finish(await first.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('offers again what its executor did not have', async () => {
    const executor = await test.connected('e1');
    const executionId = await place();
    await test.reopen();
    await executor.connect();
    await executor.next('offer', executionId, 1);
    expect(await kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'queued', 'placed']);
  });

  it('takes the receipt of what ran', async () => {
    const executor = await test.connected('e1');
    const executionId = await place();
    await executor.accept(executionId);
    await test.reopen();
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    await executor.connect([executionId]);
    await executor.finish(await executor.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(await kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'started', 'finished']);
  });

  it('loses what ran where its executor does not come back', async () => {
    const executor = await test.connected('e1');
    const executionId = await place();
    await executor.accept(executionId);
    await test.reopen();
    await waitUntilLost();
    expect(await test.state(executionId)).toBe(ExecutionState.LOST);
  });

  it('still waits for approval', async () => {
    const { executionId } = await test.submit(contractForApproval());
    await test.reopen();
    const executor = await test.connected('e1');
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.AWAITING_APPROVAL);
    expect(executor.offered).toEqual([]);
    test.clock.advance(24 * 3_600_000);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.EXPIRED);
    expect(await test.receipt(executionId)).toMatchObject({ status: 'expired' });
  });

  it('leaves alone what has ended', async () => {
    const executor = await test.connected('e1');
    const executionId = await place();
    await executor.finish(await executor.next('offer'));
    const receipt = await test.receipt(executionId);
    await test.reopen();
    await executor.connect();
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(await test.receipt(executionId)).toEqual(receipt);
    expect(executor.offered).toEqual([executionId]);
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
    const executionId = await place();
    await executor.accept(executionId);
    await test.sweep();
    test.clock.advance(executorLostAfterSec * 1000);
    await test.sweep();
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    expect(executor.offered).toEqual([executionId]);
  });

  it('knows what was offered over the first', async () => {
    const executor = test.executor('e1', { slots: 2 });
    await executor.connect();
    const [offered, running] = [await place(), await place()];
    await executor.accept(running);
    await executor.connect([running]);
    await executor.next('offer', offered, 1);
    expect(await test.state(running)).toBe(ExecutionState.RUNNING);
    expect(executor.all('offer', running)).toHaveLength(1);
    const waiting = await place();
    expect(await test.state(waiting)).toBe(ExecutionState.QUEUED);
  });

  it('is refused with another receipt key: two hosts may have the same certificate', async () => {
    const executor = await test.connected('e1');
    const impostor = await test.connected('e1');
    expect(impostor.hungUp).toMatchObject({ code: 'CREDENTIALS_INVALID' });
    expect(test.errors.splice(0)).toContain(impostor.hungUp);
    const executionId = await place();
    expect(executor.offered).toEqual([executionId]);
    executor.disconnect();
    await impostor.connect();
    expect(impostor.hungUp).toBeUndefined();
  });
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
      ...{ confirms: true, slots },
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
    const first = await place();
    const queued = await place();
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
    await executor.next('offer', await place());
  });

  it('hears nothing more where it has left, and another gets it, once', async () => {
    const executor = await connected('e1');
    const other = await test.connected('e2');
    await executor.finish(await executor.next('offer', await place()));
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
    const executionId = await place();
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

describe('what an executor says of executions that are not its own', () => {
  it('changes nothing', async () => {
    const first = await test.connected('e1');
    const executionId = await place();
    const second = await test.connected('e2');
    await second.accept(executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    await first.accept(executionId);
    await second.started(executionId);
    await second.exited(executionId);
    await test.flushed();
    expect(await kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'started']);
    second.disconnect();
    await second.connect([executionId]);
    await first.finish(await first.next('offer'));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('changes nothing of commands that the contract does not have, or for a second time', async () => {
    const executor = await test.connected('e1');
    const executionId = await place();
    await executor.accept(executionId);
    await executor.accept(executionId);
    await executor.started(executionId, 'another');
    await executor.started(executionId);
    await executor.started(executionId);
    await executor.exited(executionId, '', 'another');
    await executor.exited(executionId);
    await executor.exited(executionId);
    await executor.finish(await executor.next('offer'));
    expect((await kinds(executionId)).slice(3)).toEqual([
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

describe('a gate whose disk is lost', () => {
  it('comes back from its backup, and runs nothing again that may have run since', async () => {
    const { first, backup } = await backUpAndGoOn();
    const lost = readdirSync(test.directory);
    await test.stop();
    for (const name of lost) rmSync(join(test.directory, name), { recursive: true, force: true });
    await restoreGate(test.directory, backup);
    await comesBackWithout(first);
  });

  it('is refused while it is damaged, and restored beside what is left', async () => {
    const { first, backup } = await backUpAndGoOn();
    await expect(restoreGate(test.directory, backup)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `a gate uses ${test.directory}: stop it first, then restore`,
    });
    await test.stop();
    truncateSync(join(test.directory, 'gate.db'), 5000);
    await expect(test.reopen()).rejects.toMatchObject({
      message: expect.stringContaining('csc restore gate'),
    });
    await restoreGate(test.directory, backup);
    await comesBackWithout(first);
    expect(readdirSync(test.directory).filter((it) => it.startsWith('replaced-'))).toHaveLength(1);
  });

  let waiting: string[];
  let backup: string;
  afterEach(() => rmSync(backup, { recursive: true, force: true }));

  async function backUpAndGoOn() {
    backup = `${test.directory}-backup`;
    const executor = await test.connected('e1');
    const first = (await test.submit(makeContract())).executionId;
    waiting = [await place(), await place()];
    await executor.finish(await executor.next('offer', first));
    await executor.next('offer', waiting[0]);
    await test.flushed();
    // One is offered, the other waits: both have run by the time that the disk is lost.
    await backUpGate(test.directory, backup);
    for (const id of waiting) await executor.finish(await executor.next('offer', id));
    return { first, backup };
  }

  async function comesBackWithout(first: string): Promise<void> {
    await test.reopen();
    const another = await test.connected('e2');
    await test.flushed();
    expect(another.offered).toEqual([]);
    expect(await test.receipt(first)).toMatchObject({ execution_id: first });
    for (const id of waiting) expect(await test.state(id)).toBe(ExecutionState.LOST);
    await another.next('offer', (await test.submit(makeContract())).executionId);
  }
});

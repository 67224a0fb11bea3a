import { createKeyRing } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { openTicket } from '@csc-fleet/common/evidence';
import { ExecutionState } from '@csc-fleet/common/messages';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, noWait, other, type SubmitShort, type TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { describe, expect, it, vi } from 'vitest';
import { LiveExecution } from '../execution/execution.ts';

let test: TestGate;

openGateForEach(
  (it) => {
    test = it;
  },
  { limits: { maxQueued: 3, queueTimeoutSec: 60 } },
);

const rejected = (code: string) => expect.objectContaining({ code });

describe('an executor that takes none now', () => {
  it.each(['DRAINING', 'QUEUE_FULL', 'SPOOL_FULL', 'STORE_UNAVAILABLE'])(
    'refuses with %s, and another executor gets the execution',
    async (reason) => {
      const first = await test.connected('e1');
      const executionId = await test.place();
      const second = await test.connected('e2');
      await first.refuse(executionId, reason);
      const offer = await second.next('offer', executionId);
      expect(JSON.parse(offer.ticketJson.toString())).toMatchObject({ audience: 'e2' });
      await second.accept(executionId);
      expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
      expect(first.offered).toEqual([executionId]);
      const { execution } = await test.as(agent).getExecution({ executionId });
      expect(execution?.executorId).toBe('e2');
    },
  );

  it('is not offered anything more, however free its slots are', async () => {
    const executor = await test.connected('e1', { slots: 5 });
    const executionId = await test.place();
    await executor.refuse(executionId, 'DRAINING');
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
    await test.flushed();
    expect(executor.offered).toEqual([executionId]);
  });

  it('says so when it begins to stop, and what is not begun there goes on elsewhere at once', async () => {
    const first = await test.connected('e1', { slots: 5 });
    const running = await test.place();
    await first.accept(running);
    const offered = await test.place();
    first.say({ $case: 'draining', value: {} });
    await first.settled();
    const second = await test.connected('e2', { slots: 5 });
    const next = await test.place();
    await second.next('offer', next);
    await first.refuse(offered, 'DRAINING');
    await second.next('offer', offered);
    expect(first.offered).toEqual([running, offered]);
  });

  it('is offered what it refused when it comes back', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    await executor.refuse(executionId, 'DRAINING');
    executor.disconnect();
    await executor.connect();
    await executor.next('offer', executionId, 1);
  });

  it('is asked again after a rest where it only had no room', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const executor = await test.connected('e1');
    const executionId = await test.place();
    await executor.refuse(executionId, 'SPOOL_FULL');
    await vi.advanceTimersByTimeAsync(4_999);
    await test.flushed();
    expect(executor.offered).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    await executor.next('offer', executionId, 1);
  });

  it('is not asked again where it is stopping', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const executor = await test.connected('e1');
    const executionId = await test.place();
    await executor.refuse(executionId, 'DRAINING');
    await vi.advanceTimersByTimeAsync(3_600_000);
    await test.flushed();
    expect(executor.offered).toEqual([executionId]);
  });

  it('puts what it refused before what came later', async () => {
    const executor = await test.connected('e1');
    const first = await test.place();
    const second = await test.place();
    const other = await test.connected('e2', { slots: 0 });
    await executor.refuse(first, 'DRAINING');
    other.disconnect();
    await other.connect([], { slots: 1 });
    expect((await other.next('offer')).executionId).toBe(first);
    await other.finish(await other.next('offer', first));
    await other.next('offer', second);
  });
});

describe('an executor with a fault of its own', () => {
  const faults = ['SANDBOX_UNAVAILABLE', 'POLICY_UNSIGNED', 'TICKET_INVALID'];

  /** The executor that is at fault is the one with the fewest executions, which placement likes best. */
  async function connectTwo() {
    const faulty = await test.connected('e1', { slots: 8 });
    const well = await test.connected('e2', { slots: 8 });
    return { faulty, well };
  }

  it.each(faults)('loses none of what comes to another, and gets no more of it: %s', async (reason) => {
    const { faulty, well } = await connectTwo();
    for (let count = 0; count < 6; count++) {
      const executionId = await test.place();
      const offered = faulty.offered.at(-1) === executionId;
      if (offered) await faulty.refuse(executionId, reason);
      await well.finish(await well.next('offer', executionId));
      expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    }
    expect(faulty.offered).toHaveLength(1);
    const told = (await test.events(faulty.offered[0] ?? '')).map(({ event }) => JSON.stringify(event));
    expect(told).toContainEqual(expect.stringContaining(`e1 could not take it: ${reason}`));
  });

  /** Both had to refuse it, each for a reason of its own. */
  async function refusedByAll(more: SubmitShort = {}) {
    const both = [await test.connected('e1'), await test.connected('e2', { labels: { pool: 'b' } })] as const;
    const { executionId } = await test.submit(makeContract(), more);
    await both[0].refuse(executionId, 'SANDBOX_UNAVAILABLE', { message: 'no descriptors' });
    await both[1].next('offer', executionId);
    await both[1].refuse(executionId, 'POLICY_UNSIGNED', { message: 'no such policy' });
    await test.flushed();
    return { executionId, both };
  }

  const offersOf = (both: readonly ScriptedExecutor[], executionId: string) =>
    both.flatMap(({ offered }) => offered).filter((it) => it === executionId).length;

  it('keeps it waiting where no other could run it, and it runs on the first that is well again', async () => {
    const { executionId, both } = await refusedByAll();
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
    await test.sweep();
    expect(offersOf(both, executionId)).toBe(2);
    const { waiting } = await test.as(agent).getStatus();
    expect(waiting[0]?.reason).toMatch(/e1 had to refuse what was yours: SANDBOX.* it is tried again/);
    test.clock.advance(5_001);
    await test.sweep();
    await both[0].refuse(executionId, 'SANDBOX_UNAVAILABLE');
    await both[1].finish(await both[1].next('offer', executionId, 1));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(offersOf(both, executionId)).toBe(4);
  });

  it('is asked the less often the longer that lasts; it ends when its time is up, with what each host had said', async () => {
    const { executionId, both } = await refusedByAll();
    for (let second = 0; second < 60; second++) {
      for (const host of both) {
        const last = host.received.at(-1);
        if (last?.$case === 'offer') await host.refuse(executionId, 'SANDBOX_UNAVAILABLE');
      }
      test.clock.advance(1_000);
      await test.sweep();
    }
    expect(offersOf(both, executionId)).toBeLessThanOrEqual(2 * 5);
    expect(await test.state(executionId)).toBe(ExecutionState.EXPIRED);
    const { error } = await test.receipt(executionId);
    expect(error).toMatch(/^no executor .*e1: SANDBOX_UNAVAILABLE.*; e2: SANDBOX_UNAVAILABLE/);
  });

  it('ends it at once where it may not wait, by a receipt of the gate', async () => {
    const { executionId } = await refusedByAll({ options: noWait });
    expect(await test.state(executionId)).toBe(ExecutionState.BLOCKED);
    expect(await test.receipt(executionId)).toMatchObject({ error: expect.stringContaining('POLICY') });
  });

  it.each([
    ['ends it at once where all of them lack what only their owners can give', true, ExecutionState.BLOCKED],
    ['keeps it where one of them may be well again by itself', false, ExecutionState.QUEUED],
  ])('%s', async (_, lasting, state) => {
    const both = [await test.connected('e1'), await test.connected('e2', { labels: { pool: 'b' } })] as const;
    const { executionId } = await test.submit(makeContract());
    await both[0].refuse(executionId, 'SANDBOX_UNAVAILABLE', { lasting });
    await both[1].next('offer', executionId);
    await both[1].refuse(executionId, 'SANDBOX_UNAVAILABLE', { lasting: true });
    await test.flushed();
    expect(await test.state(executionId)).toBe(state);
  });

  it('has one that no host can start wait behind the others of its principal, and aside once they start', async () => {
    const faulty = await test.connected('e1');
    const failing = await test.place();
    const well = await test.place();
    await faulty.refuse(failing, 'SANDBOX_UNAVAILABLE');
    test.clock.advance(5_001);
    await test.sweep();
    await test.flushed();
    expect(faulty.offered).toEqual([failing, well]);
    await faulty.accept(well);
    await faulty.finish(await faulty.next('offer', well));
    const later = await test.place();
    await faulty.refuse((await faulty.next('offer', failing, 1)).executionId, 'SANDBOX_UNAVAILABLE');
    // Others start there: it is this one alone, and nothing is passed over for it.
    await faulty.finish(await faulty.next('offer', later));
    await test.sweep();
    expect(offersOf([faulty], failing)).toBe(2);
    const { waiting } = await test.as(agent).getStatus();
    expect(waiting[0]?.reason).toContain('hosts that start others');
    test.clock.advance(5_000);
    await test.sweep();
    await faulty.finish(await faulty.next('offer', failing, 2));
    expect(await test.state(failing)).toBe(ExecutionState.SUCCEEDED);
  });

  it('leaves it to one that only rests', async () => {
    const faulty = await test.connected('e1');
    const resting = test.executor('e2');
    resting.shortage = 'its disk is full';
    await resting.connect();
    const executionId = await test.place();
    await faulty.refuse(executionId, 'SANDBOX_UNAVAILABLE');
    faulty.disconnect();
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
    resting.shortage = '';
    await resting.settled();
    await resting.finish(await resting.next('offer', executionId));
  });

  it('is not taken from a principal whose contracts have not met it', async () => {
    const { faulty, well } = await connectTwo();
    const executionId = await test.place();
    await faulty.refuse(executionId, 'SANDBOX_UNAVAILABLE');
    await well.next('offer', executionId);
    const { executionId: others } = await test.submit(makeContract(), { principal: other });
    await faulty.next('offer', others);
  });

  it('is tried with one execution after a while, and with all once it has started that', async () => {
    const { faulty, well } = await connectTwo();
    const first = await test.place();
    await faulty.refuse(first, 'SANDBOX_UNAVAILABLE');
    await well.next('offer', first);
    test.clock.advance(5_001);
    const second = await test.place();
    await faulty.next('offer', second);
    const third = await test.place();
    await well.next('offer', third);
    await faulty.accept(second);
    const fourth = await test.place();
    await faulty.next('offer', fourth);
  });

  it('is passed over once for all that it had at a time', async () => {
    const faulty = await test.connected('e1', { slots: 8 });
    const placed = [await test.place(), await test.place(), await test.place(), await test.place()];
    for (const id of placed) await faulty.next('offer', id);
    const well = await test.connected('e2', { slots: 8 });
    for (const id of placed) await faulty.refuse(id, 'SANDBOX_UNAVAILABLE');
    for (const id of placed) await well.next('offer', id);
    test.clock.advance(5_001);
    const next = await test.place();
    await expect.poll(() => faulty.offered).toContain(next);
    // That was another time.
    await faulty.refuse(next, 'SANDBOX_UNAVAILABLE');
    await well.next('offer', next);
    test.clock.advance(5_001);
    await well.next('offer', await test.place());
  });

  it('is passed over once for a refusal, however often the disk has to be asked to write it down', async () => {
    const { faulty, well } = await connectTwo();
    const first = await test.place();
    vi.spyOn(LiveExecution.prototype, 'advance').mockImplementationOnce(() =>
      Promise.reject(new CscError('STORE_UNAVAILABLE', 'the disk is full', { retryAfterMs: 1 })),
    );
    await faulty.refuse(first, 'SANDBOX_UNAVAILABLE');
    await well.next('offer', first);
    test.clock.advance(5_001);
    const second = await test.place();
    await expect.poll(() => faulty.offered).toContain(second);
  });

  it('is tried at once when it has connected anew', async () => {
    const { faulty, well } = await connectTwo();
    const first = await test.place();
    await faulty.refuse(first, 'SANDBOX_UNAVAILABLE');
    await well.next('offer', first);
    faulty.disconnect();
    await faulty.connect([], { slots: 8 });
    await faulty.next('offer', await test.place());
  });
});

describe('an executor whose clock is off', () => {
  const connectAhead = async (name: string, seconds: number) => {
    const executor = test.executor(name, { slots: 8 });
    executor.aheadMs = seconds * 1000;
    await executor.connect();
    return executor;
  };

  it.each([-60, -7, 0, 31, 60])('by %i s gets tickets in its own time', async (seconds) => {
    const executor = await connectAhead('e1', seconds);
    const { ticketJson } = await executor.next('offer', await test.place());
    const ticket = JSON.parse(ticketJson.toString());
    const hostsNow = new Date(test.clock.now().getTime() + seconds * 1000);
    const audience = { keys: createKeyRing([test.signer]), audience: 'e1', now: hostsNow };
    expect(openTicket(ticketJson, { ...audience, contractSha256: ticket.contract_sha256 })).toMatchObject({
      not_before: toTimestamp(hostsNow),
      signature: { signed_at: toTimestamp(hostsNow) },
    });
  });

  it.each([
    ['behind', -301],
    ['ahead of', 301],
  ])('by minutes takes nothing, and says so: %s', async (where, seconds) => {
    const wrong = await connectAhead('e1', seconds);
    const first = await test.place();
    await test.flushed();
    expect(wrong.offered).toEqual([]);
    const right = await test.connected('e2', { slots: 8 });
    await right.next('offer', first);
    for (let count = 0; count < 2; count++) await right.next('offer', await test.place());
    expect(wrong.offered).toEqual([]);
    right.disconnect();
    const waiting = await test
      .submit(makeContract(), { options: noWait })
      .catch((error: Error) => error.message);
    expect(waiting).toContain(`its clock is 301 s ${where} this gate’s`);
  });

  it('takes something again once it is set right', async () => {
    const executor = await connectAhead('e1', -120);
    const executionId = await test.place();
    expect(executor.offered).toEqual([]);
    executor.aheadMs = 0;
    await executor.settled();
    await executor.next('offer', executionId);
  });

  it('is not taken for one by a message that was long under way', async () => {
    const executor = await connectAhead('e1', 0);
    executor.aheadMs = -90_000;
    await executor.settled();
    executor.aheadMs = 0;
    await executor.next('offer', await test.place());
  });
});

describe('an executor whose disk is full', () => {
  const shortage = 'the disk of this host’s state_dir is full';

  it('is offered nothing, from its Hello on, says why, and is offered something once it has room', async () => {
    const full = test.executor('e1', { slots: 8 });
    full.shortage = shortage;
    await full.connect();
    const waiting = await test.place();
    await test.flushed();
    expect(full.offered).toEqual([]);
    const right = await test.connected('e2', { slots: 1 });
    await right.next('offer', waiting);
    const next = await test.place();
    expect(full.offered).toEqual([]);
    expect(test.gate.health()).toMatchObject({ placing: true });
    right.disconnect();
    expect(test.gate.health()).toMatchObject({ placing: false });
    const said = await test
      .submit(makeContract(), { options: noWait })
      .catch((error: Error) => error.message);
    expect(said).toContain(shortage);
    full.shortage = '';
    await full.settled();
    await full.next('offer', next);
    full.shortage = shortage;
    await full.settled();
    const later = await test.place();
    await test.flushed();
    expect(full.offered).not.toContain(later);
  });
});

describe('an executor that refuses the contract', () => {
  it('has its signed refusal acknowledged, which it keeps until then, as often as it brings it', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    const offer = await executor.next('offer', executionId);
    const receiptJson = executor.receipt(offer, { receipt: { status: 'blocked', ended: 'refused' } });
    await executor.refuse(executionId, 'NOT_PERMITTED', { receiptJson });
    expect(await executor.next('receiptAck', executionId)).toEqual({ executionId });
    executor.disconnect();
    await executor.connect([executionId]);
    executor.say({
      $case: 'receipt',
      value: { executionId, receiptJson, originalJson: Buffer.alloc(0), outputLogLength: 0 },
    });
    await executor.settled();
    await test.flushed();
    expect(executor.received.filter(({ $case }) => $case === 'receiptAck')).toHaveLength(2);
    expect(await test.state(executionId)).toBe(ExecutionState.BLOCKED);
  });

  it('gets a new ticket where it cannot vouch for an old one', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const executor = await test.connected('e1');
    const executionId = await test.place();
    await executor.refuse(executionId, 'TICKET_EXPIRED');
    await vi.advanceTimersByTimeAsync(5_000);
    await test.flushed();
    expect(executor.offered).toEqual([executionId, executionId]);
    await executor.accept(executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
  });

  it('ends the execution, with its receipt', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    const offer = await executor.next('offer', executionId);
    const receiptJson = executor.receipt(offer, { receipt: { status: 'blocked', ended: 'refused' } });
    await executor.refuse(executionId, 'HOST_CEILING_EXCEEDED', { receiptJson });
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.BLOCKED);
    expect((await test.as(agent).getReceipt({ executionId })).receiptJson).toEqual(receiptJson);
    const { execution } = await test.as(agent).getExecution({ executionId });
    expect(execution?.error).toContain('HOST_CEILING_EXCEEDED');
  });

  it('ends it with a receipt of the gate where it has sent none', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    const next = await test.place();
    await executor.refuse(executionId, 'TICKET_INVALID');
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.BLOCKED);
    expect(await test.receipt(executionId)).toMatchObject({
      status: 'blocked',
      signature: { key_id: test.signer.keyId },
    });
    await executor.next('offer', next);
  });

  it('ends it whatever the executor says, also what would be cut in the middle of a character', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    const message = `${'x'.repeat(3983)}😀${'x'.repeat(100)}`;
    await executor.refuse(executionId, 'TICKET_INVALID', { message });
    await test.flushed();
    const { error } = await test.receipt(executionId);
    expect([...String(error)]).toHaveLength(4000);
  });

  it('ends it with a receipt of the gate where the executor’s own does not count', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    const offer = await executor.next('offer', executionId);
    const receiptJson = executor.receipt(offer, { receipt: { status: 'blocked', execution_id: 'another' } });
    await executor.refuse(executionId, 'TICKET_INVALID', { receiptJson });
    await test.flushed();
    expect(await test.receipt(executionId)).toMatchObject({ signature: { key_id: test.signer.keyId } });
    // Said once; the executor still owes it.
    expect(test.errors.splice(0)).toEqual([rejected('RECEIPT_INVALID')]);
    expect(executor.all('receiptAck', executionId)).toEqual([]);
  });

  it.each(['TICKET_INVALID', 'DRAINING'])(
    'ends it with %s also after it was taken to run it, as nobody else may',
    async (reason) => {
      const executor = await test.connected('e1');
      const executionId = await test.place();
      const second = await test.connected('e2');
      await executor.accept(executionId);
      await executor.refuse(executionId, reason);
      await test.flushed();
      expect(await test.state(executionId)).toBe(ExecutionState.BLOCKED);
      expect(second.offered).toEqual([]);
    },
  );

  it('has it already where the ticket was redeemed before', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    await executor.refuse(executionId, 'TICKET_REPLAYED');
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    await executor.finish(await executor.next('offer'));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('cannot do so for another executor’s', async () => {
    await test.connected('e1');
    const executionId = await test.place();
    const second = await test.connected('e2');
    await second.refuse(executionId, 'TICKET_INVALID');
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
  });
});

import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ExecutionState } from '@csc-fleet/common/messages';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import type { TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { describe, expect, it } from 'vitest';

// The deadline is 5 s, the ticket lives 10 s, and 7 s are for clocks and disks that are late.
const deadlineMs = 5_000;
const overMs = 17_000;

let test: TestGate;
let silent: ScriptedExecutor;
let good: ScriptedExecutor;
let executionId: string;

openGateForEach((it) => {
  test = it;
});

/** A host that was offered the execution and says nothing, and one beside it that is free. */
async function offerToSilent(ask?: () => Promise<void>): Promise<void> {
  silent = await test.connected('silent', { slots: 5, ...(ask === undefined ? {} : { ask }) });
  executionId = await test.place();
  await silent.next('offer', executionId);
  good = await test.connected('good', { slots: 5 });
}

async function pass(milliseconds: number): Promise<void> {
  test.clock.advance(milliseconds);
  // The first asks the host, the second acts on what it said.
  await test.sweep();
  await test.sweep();
}

const queuedReasons = async () =>
  (await test.events(executionId)).flatMap(({ event }) =>
    event?.$case === 'queued' ? [event.value.reason] : [],
  );

const lateReceipts = () => {
  const database = new DatabaseSync(join(test.directory, 'gate.db'), { readOnly: true });
  try {
    return database.prepare('SELECT executor_id, receipt_json FROM withdrawn_offers').all();
  } finally {
    database.close();
  }
};

describe('a host that never answers', () => {
  it('keeps its offer for as long as it could redeem it; then another runs it, once', async () => {
    await offerToSilent();
    await pass(deadlineMs - 1);
    expect(silent.all('withdraw')).toEqual([]);
    await pass(1);
    expect(silent.all('withdraw', executionId)).toHaveLength(1);
    await pass(overMs - deadlineMs - 1);
    expect(good.offered).toEqual([]);
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    await pass(1);
    const offer = await good.next('offer', executionId);
    await good.accept(executionId);
    await good.finish(offer);
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(await test.receipt(executionId)).toMatchObject({ executor_id: 'good' });
    expect([silent.offered, good.offered]).toEqual([[executionId], [executionId]]);
    expect(await queuedReasons()).toEqual([
      '',
      expect.stringContaining('has not answered for 5 s'),
      expect.stringContaining('never answered'),
    ]);
  });

  it('is given tickets that are over soon', async () => {
    await offerToSilent();
    const { not_before: begins, expires_at: ends } = JSON.parse(
      (await silent.next('offer', executionId)).ticketJson.toString(),
    );
    expect(Date.parse(ends) - Date.parse(begins)).toBe(10_000);
  });

  it('is offered nothing else before it answers', async () => {
    await offerToSilent();
    await pass(deadlineMs);
    const others = [await test.place(), await test.place()];
    await test.flushed();
    expect(good.offered).toEqual(others);
    await silent.accept(executionId);
    const next = await test.place();
    await silent.next('offer', next);
  });

  it('lets what it alone could run wait for it, instead of refusing that', async () => {
    silent = await test.connected('silent', { slots: 5 });
    executionId = await test.place();
    await pass(deadlineMs);
    const waiting = await test.place();
    expect(await test.state(waiting)).toBe(ExecutionState.QUEUED);
    await silent.accept(executionId);
    await silent.next('offer', waiting);
  });

  it('keeps what it may be running: it is cut off, and nobody has heard it since', async () => {
    await offerToSilent(() => new Promise(() => undefined));
    await pass(deadlineMs);
    for (let minutes = 0; minutes < 4; minutes++) await pass(60_000);
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
    await silent.accept(executionId);
    await silent.finish(await silent.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(good.offered).toEqual([]);
  });
});

describe('a host that answers late', () => {
  it('runs it where its ticket was still good', async () => {
    await offerToSilent();
    await pass(deadlineMs);
    await pass(4_000);
    await silent.accept(executionId);
    await pass(overMs);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    await silent.finish(await silent.next('offer', executionId));
    expect(good.offered).toEqual([]);
  });

  it.each(['TICKET_REVOKED', 'QUEUE_FULL'])(
    'and refuses, %s, leaves it to another at once',
    async (reason) => {
      await offerToSilent();
      await pass(deadlineMs);
      await silent.refuse(executionId, reason);
      await good.next('offer', executionId);
      // It has answered.
      await test.place();
      await test.flushed();
      expect(silent.offered.length + good.offered.length).toBe(3);
    },
  );

  it('only to say that the ticket is over leaves it to another', async () => {
    await offerToSilent();
    await silent.refuse(executionId, 'TICKET_EXPIRED');
    await good.next('offer', executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.OFFERED);
  });

  it('keeps it where nobody else has it yet, although its ticket was over', async () => {
    silent = await test.connected('silent');
    executionId = await test.place();
    const offer = await silent.next('offer', executionId);
    await pass(deadlineMs);
    await pass(overMs);
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
    await silent.accept(executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    good = await test.connected('good');
    await test.flushed();
    expect(good.offered).toEqual([]);
    await silent.finish(offer);
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(test.errors.splice(0)).toMatchObject([{ code: 'TICKET_EXPIRED' }]);
  });

  it('is told to stop where another has it; its receipt is kept beside the one that counts', async () => {
    await offerToSilent();
    await pass(deadlineMs);
    await pass(overMs);
    const offer = await good.next('offer', executionId);
    await good.accept(executionId);
    await silent.accept(executionId);
    expect(silent.all('cancel', executionId)).toHaveLength(1);
    const stale = await silent.next('offer', executionId);
    const receiptJson = silent.receipt(stale, { receipt: { status: 'failed', ended: 'cancelled' } });
    silent.say({
      $case: 'receipt',
      value: { executionId, receiptJson, originalJson: Buffer.alloc(0), outputLogLength: 0 },
    });
    await silent.next('receiptAck', executionId);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    await good.finish(offer);
    expect(await test.receipt(executionId)).toMatchObject({ status: 'success', executor_id: 'good' });
    await test.stop();
    expect(lateReceipts()).toEqual([
      { executor_id: silent.identity.uri, receipt_json: new Uint8Array(receiptJson) },
    ]);
    expect(test.errors.splice(0)).toMatchObject([{ code: 'TICKET_EXPIRED' }, { code: 'TICKET_EXPIRED' }]);
  });

  it('by its next Hello is believed, too', async () => {
    silent = await test.connected('silent');
    executionId = await test.place();
    await pass(deadlineMs);
    await pass(overMs);
    silent.disconnect();
    await test.reopen();
    await silent.connect([executionId]);
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    expect(silent.offered).toEqual([executionId]);
    expect(test.errors.splice(0)).toMatchObject([{ code: 'TICKET_EXPIRED' }]);
  });
});

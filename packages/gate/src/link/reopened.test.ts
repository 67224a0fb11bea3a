import { chownSync, mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExecutionState } from '@csc-fleet/common/messages';
import { contractForApproval, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import type { TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { backUpGate, restoreGate } from '../service/backup.ts';

let test: TestGate;

openGateForEach((it) => {
  test = it;
});

describe('a gate that is opened again', () => {
  it('goes on with what waited, in order', async () => {
    await test.connected('e1');
    await test.place();
    const [first, second] = [await test.place(), await test.place()];
    await test.reopen();
    expect(await test.state(first)).toBe(ExecutionState.QUEUED);
    const executor = await test.connected('e2');
    await executor.finish(await executor.next('offer', first));
    await executor.next('offer', second);
    expect(executor.offered).toEqual([first, second]);
  });

  it('does not offer to anybody else what was offered', async () => {
    const first = await test.connected('e1');
    const executionId = await test.place();
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
    const executionId = await test.place();
    await test.reopen();
    await executor.connect();
    await executor.next('offer', executionId, 1);
    expect(await test.kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'queued', 'placed']);
  });

  it('takes the receipt of what ran', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    await executor.accept(executionId);
    await test.reopen();
    expect(await test.state(executionId)).toBe(ExecutionState.RUNNING);
    await executor.connect([executionId]);
    await executor.finish(await executor.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(await test.kinds(executionId)).toEqual(['decided', 'queued', 'placed', 'started', 'finished']);
  });

  it('loses what ran where its executor does not come back', async () => {
    const executor = await test.connected('e1');
    const executionId = await test.place();
    await executor.accept(executionId);
    await test.reopen();
    await test.waitUntilLost();
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
    const executionId = await test.place();
    await executor.finish(await executor.next('offer'));
    const receipt = await test.receipt(executionId);
    await test.reopen();
    await executor.connect();
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    expect(await test.receipt(executionId)).toEqual(receipt);
    expect(executor.offered).toEqual([executionId]);
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

  it.runIf(process.getuid?.() === 0)('has nothing of it touched by another user', async () => {
    const { backup } = await backUpAndGoOn();
    const other = mkdtempSync(join(tmpdir(), 'csc-restore-'));
    onTestFinished(() => rmSync(other, { recursive: true, force: true }));
    chownSync(other, 61_912, 61_912);
    await expect(restoreGate(other, backup)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(readdirSync(other)).toEqual([]);
  });

  let waiting: string[];
  let backup: string;
  afterEach(() => rmSync(backup, { recursive: true, force: true }));

  async function backUpAndGoOn() {
    backup = `${test.directory}-backup`;
    const executor = await test.connected('e1');
    const first = (await test.submit(makeContract())).executionId;
    waiting = [await test.place(), await test.place()];
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

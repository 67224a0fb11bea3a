import { createHash } from 'node:crypto';
import { readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { shell } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let bench: Workbench;

afterEach(() => bench.close());

const sha256 = (data: string | Buffer) => `sha256:${createHash('sha256').update(data).digest('hex')}`;

describe('a run that is ended', () => {
  beforeEach(async () => {
    bench = await openWorkbench();
  });

  const stubborn = 'trap "" TERM; echo ready; while :; do sleep 0.1; done';
  const orderly = 'trap "echo bye; exit 0" TERM; echo ready; while :; do sleep 0.1; done';

  async function offerReady(script: string): Promise<string> {
    const executionId = bench.offer([{ argv: shell(script) }, { id: 'next' }]);
    await bench.gate.output.holds(executionId, 1);
    return executionId;
  }

  const cancel = (executionId: string, ms: number) =>
    bench.gate.send({
      $case: 'cancel',
      value: { executionId, gracePeriod: { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6 } },
    });

  it('times out with 124, and nothing of it is left', async () => {
    const marker = `csc-test-timeout-${process.pid}`;
    const argv = [...shell('(while :; do sleep 0.1; done) & sleep 60'), marker];
    const executionId = bench.offer([{ argv, timeout_sec: 1 }]);
    await bench.gate.next('commandStarted', executionId);
    expect(findProcesses(marker)).not.toEqual([]);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({
      status: 'failed',
      exit_code: 124,
      ended: 'timeout',
      commands: [{ ended: 'timeout' }],
    });
    await expect.poll(() => findProcesses(marker)).toEqual([]);
  });

  it('may end in order within its grace period', async () => {
    const executionId = await offerReady(orderly);
    cancel(executionId, 20_000);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({
      status: 'failed',
      ended: 'cancelled',
      stdout_hash: sha256('ready\nbye\n'),
    });
    expect(receipt.exit_code).not.toBe(0);
    expect(receipt.commands).toHaveLength(1);
  });

  it('is killed after it', async () => {
    const executionId = await offerReady(stubborn);
    cancel(executionId, 100);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({ ended: 'cancelled', exit_code: 137, commands: [{ signal: 'SIGKILL' }] });
  });

  it('ends at once when it is cancelled while its artifacts are hashed', async () => {
    await bench.close();
    const runLimits = { artifact_bytes: 2 ** 43, artifact_sec: 600 };
    bench = await openWorkbench({ executor: { runLimits } });
    const path = join(bench.out, 'endless');
    writeFileSync(path, '');
    truncateSync(path, 2 ** 42);
    const executionId = bench.offer([{ id: 'main', write_paths: [bench.out] }], { expected_outputs: [path] });
    await bench.gate.next('exited', executionId);
    cancel(executionId, 60_000);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({
      status: 'success',
      artifacts_left_out: { count: 1, first: [{ path, reason: 'cancelled' }] },
    });
  });

  it('ends sooner when it is cancelled again', async () => {
    const executionId = await offerReady(stubborn);
    cancel(executionId, 60_000);
    cancel(executionId, 0);
    expect((await bench.gate.receipt(executionId)).ended).toBe('cancelled');
  });

  it('runs nothing where it was cancelled before it could start', async () => {
    const executionId = bench.offer([{ argv: shell('echo ran > out/mark'), write_paths: [bench.out] }]);
    cancel(executionId, 1000);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({
      status: 'blocked',
      ended: 'cancelled',
      commands: [{ ended: 'cancelled' }],
    });
    expect(readdirSync(bench.out)).toEqual([]);
  });

  it('does nothing for an execution that is not here', async () => {
    cancel('exec_elsewhere', 0);
    expect((await bench.run([{}])).receipt.status).toBe('success');
  });

  it('drain waits for what runs; endAll ends it, and its receipt says that its host was stopped', async () => {
    const executionId = await offerReady(stubborn);
    let drained = false;
    const draining = bench.executor.drain().then(() => {
      drained = true;
    });
    // Said at once, so that nothing is offered only to be refused.
    expect(bench.gate.all('draining')).toHaveLength(1);
    // Answered behind it, and while it waits.
    const late = bench.offer([{}]);
    expect((await bench.gate.next('refused', late)).reason).toBe('DRAINING');
    expect(drained).toBe(false);
    bench.executor.endAll('stopped', 0);
    await draining;
    const error = expect.stringContaining('its host was stopped');
    expect(await bench.gate.receipt(executionId)).toMatchObject({ ended: 'cancelled', error });
  });
});

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type GateClient } from '@csc-fleet/client';
import { isCscError } from '@csc-fleet/common/errors';
import { ExecutionState } from '@csc-fleet/common/rpc';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import { afterEach, describe, expect, it } from 'vitest';

const diskBytes = 8 * 1024 * 1024;

let fleet: Fleet;
let disk: SmallDisk | undefined;

/** A client that takes the first answer. */
let hasty: GateClient | undefined;
const submit = (contract: Parameters<GateClient['submit']>[0]) => {
  hasty ??= connect({ address: fleet.address, tls: fleet.tls('alice'), connectTimeout: 0 });
  return hasty.submit(contract);
};

afterEach(async () => {
  await hasty?.close();
  hasty = undefined;
  disk?.unmount();
  disk = undefined;
  await fleet?.[Symbol.asyncDispose]();
});

/** A gate whose data_dir is a small file system of its own, and an executor. */
async function startOnSmallDisk(gate: Record<string, unknown> = {}): Promise<void> {
  fleet = await startFleet({
    executors: [{ name: 'host' }],
    admins: true,
    gate: { limits: { requests_per_sec: 10_000, burst: 10_000 }, ...gate },
    prepare: (directory) => {
      disk = new SmallDisk(join(directory, 'gate'), diskBytes);
    },
  });
}

// Denied, and so ended as soon as it is recorded.
const denied = () => fleet.contract({ argv: ['rm', ...Array<string>(10).fill('x'.repeat(1000))] });

// As little as can be recorded: where this has no room, a receipt has none.
const deniedBriefly = () => fleet.contract({ argv: ['rm'] });

/** Submits until the gate refuses; gives the ids that it acknowledged, and the refusal. */
async function submitUntilRefused(contract = denied): Promise<{ acknowledged: string[]; refusal: unknown }> {
  const acknowledged: string[] = [];
  for (let i = 0; i < 2_000; i++) {
    try {
      acknowledged.push((await submit(contract())).executionId);
    } catch (refusal) {
      return { acknowledged, refusal };
    }
  }
  throw new Error('the disk did not fill');
}

describe('a gate whose disk is full', () => {
  it('refuses writes, goes on with everything else, and comes back by itself', async () => {
    await startOnSmallDisk();
    const client = fleet.connect();
    const { execution: early, receiptJson } = await client.run(fleet.contract({}));
    const out = fleet.writable('out');
    const script = `while [ ! -e ${out}/go ]; do sleep 0.05; done; touch ${out}/ended`;
    const running = await client.submit(
      fleet.contract({ argv: ['sh', '-c', script], write_paths: [out], timeout_sec: 120 }),
    );
    for await (const { type } of client.watch(running.executionId)) if (type === 'started') break;

    disk?.fill();
    const { acknowledged, refusal } = await submitUntilRefused();
    expect(refusal).toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringMatching(/data_dir.*disk is full.*make room/),
      retryAfterMs: expect.any(Number),
    });

    // What was too little for that one may be enough for a receipt, and none must fit.
    acknowledged.push(...(await submitUntilRefused(deniedBriefly)).acknowledged);
    // A receipt touches fewer pages of the database than a submission: what is free yet goes too.
    disk?.fill();

    // What runs ends, and reads are answered; the executor stays connected although its receipt cannot be kept yet.
    writeFileSync(join(out, 'go'), '');
    while (!existsSync(join(out, 'ended'))) await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await client.getReceipt(early.executionId)).receiptJson).toEqual(receiptJson);
    const { execution } = await client.getExecution(running.executionId);
    expect(execution.state).toBe(ExecutionState.RUNNING);
    expect((await client.check(denied())).reasonCodes).toContain('COMMAND_NOT_ALLOWED');
    const warnings = async () => (await client.status()).warnings;
    expect(await warnings()).toContainEqual(expect.stringMatching(/data_dir takes no writes.*disk is full/));
    for (let i = 0; i < 5; i++) {
      const again = await submit(denied()).catch((error: unknown) => error);
      expect(isCscError(again, 'STORE_UNAVAILABLE')).toBe(true);
    }
    expect(fleet.gate.running).toBe(true);
    expect(fleet.gate.log).not.toContain('executor disconnected');

    // Nor does it need any room to start.
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await fleet.gate.stop(signal);
      disk?.fill();
      await fleet.startGate();
      expect((await client.getReceipt(early.executionId)).receiptJson).toEqual(receiptJson);
    }

    disk?.makeRoom();
    const { execution: ended, receipt } = await client.follow(running.executionId);
    expect(ended.state).toBe(ExecutionState.SUCCEEDED);
    expect(receipt?.status).toBe('success');
    expect((await client.run(fleet.contract({}))).execution.state).toBe(ExecutionState.SUCCEEDED);
    expect(await warnings()).not.toContainEqual(expect.stringContaining('takes no writes'));
    expect(fleet.gate.log).not.toContain('executor disconnected');

    // Nothing was acknowledged that a killed gate does not know.
    await fleet.gate.stop('SIGKILL');
    await fleet.startGate();
    for (const id of acknowledged.slice(-20)) {
      expect((await client.getExecution(id)).execution.state).toBe(ExecutionState.BLOCKED);
    }
  });
});

describe('an executor process whose state_dir is full', () => {
  it('starts, delivers what it had, says so, drains, and takes work once there is room', async () => {
    const host = { name: 'host', config: {} as Record<string, unknown> };
    fleet = await startFleet({
      executors: [host],
      admins: true,
      gate: { heartbeat_interval_sec: 1 },
      prepare: (directory) => {
        host.config['state_dir'] = join(directory, 'state');
        disk = new SmallDisk(join(directory, 'state'), 2 * diskBytes);
      },
    });
    const client = fleet.connect();
    const out = fleet.writable('out');
    const script = `touch ${out}/runs; while [ ! -e ${out}/go ]; do sleep 0.05; done`;
    const { executionId } = await client.submit(
      fleet.contract({ argv: ['sh', '-c', script], write_paths: [out], timeout_sec: 120 }),
    );
    await expect.poll(() => existsSync(join(out, 'runs'))).toBe(true);
    disk?.fill();
    await fleet.executor('host').stop('SIGKILL');
    disk?.fill();
    await fleet.startExecutor(host);
    // Cut off, and signed for, with no room for anything else.
    expect((await client.follow(executionId)).receipt).toMatchObject({ ended: 'executor_restart' });
    const resting = async () => (await client.executors())[0]?.resting;
    expect(await resting()).toMatch(/state_dir.*is full/);
    await fleet.executor('host').stop('SIGTERM');
    disk?.fill();
    await fleet.startExecutor(host);
    expect(await resting()).toMatch(/state_dir.*is full/);
    disk?.makeRoom();
    expect((await client.run(fleet.contract({}))).receipt).toMatchObject({ status: 'success' });
    expect(await resting()).toBe('');
  });
});

describe('what one identity stores in a day', () => {
  it('is bounded, also across a restart, and only for that identity', async () => {
    await startOnSmallDisk({
      limits: { requests_per_sec: 10_000, burst: 10_000, stored_bytes_per_day: 200_000 },
      keep_denied_contracts: true,
    });
    const { acknowledged, refusal } = await submitUntilRefused();
    expect(acknowledged.length).toBeGreaterThan(5);
    expect(acknowledged.length).toBeLessThan(20);
    expect(refusal).toMatchObject({ code: 'RATE_LIMITED', message: expect.stringMatching(/00:00 UTC/) });
    await fleet.gate.stop('SIGKILL');
    await fleet.startGate();
    await expect(submit(denied())).rejects.toMatchObject({ code: 'RATE_LIMITED' });
    expect((await fleet.connect().check(denied())).reasonCodes).toContain('COMMAND_NOT_ALLOWED');
  });
});

import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { ExecutionState } from '@csc-fleet/common/rpc';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet({
    executors: [
      { name: 'small', labels: { pool: 'ci', arch: 'amd64' }, config: { slots: 1 } },
      { name: 'large', labels: { pool: 'ci', arch: 'arm64' }, config: { slots: 2 } },
      { name: 'lab', labels: { pool: 'lab' } },
    ],
    policy: { allow_secret_refs: true, network: 'full' },
  });
});
afterAll(() => fleet[Symbol.asyncDispose]());

async function hostOf(selector: Record<string, string>): Promise<string | undefined> {
  const result = await fleet.connect().run(fleet.contract({}), { selector });
  return (result.receipt as ReceiptV02 | undefined)?.executor_id;
}

describe('placement over three executors', () => {
  it('goes where all the labels are', async () => {
    expect(await hostOf({ pool: 'lab' })).toBe('lab');
    expect(await hostOf({ pool: 'ci', arch: 'arm64' })).toBe('large');
    expect(await hostOf({ arch: 'amd64' })).toBe('small');
  });

  it('refuses at once, saying what there is, where no executor has the labels and it may not wait', async () => {
    const error = await fleet
      .connect()
      .run(fleet.contract({}), { selector: { gpu: 'yes' }, queueTimeoutMs: 0 })
      .catch((it: unknown) => it);
    expect(error).toMatchObject({
      code: 'NO_MATCHING_EXECUTOR',
      message: expect.stringContaining('pool=lab'),
    });
  });

  it('waits its turn where the host is busy, and runs one at a time on one slot', async () => {
    const client = fleet.connect();
    const options = { selector: { arch: 'amd64' } };
    const runs = [1, 2, 3].map(() => client.run(fleet.contract({ argv: ['sleep', '0.3'] }), options));
    const receipts = (await Promise.all(runs)).map((it) => it.receipt as ReceiptV02);
    expect(receipts.map((it) => it.status)).toEqual(['success', 'success', 'success']);
    const spans = receipts
      .map((it) => ({ from: it.started_at, to: it.ended_at }))
      .sort((a, b) => a.from.localeCompare(b.from));
    for (const [index, { from }] of spans.entries()) expect(from >= (spans[index - 1]?.to ?? '')).toBe(true);
  });

  it('expires with a receipt where no slot is free in time', async () => {
    const client = fleet.connect();
    const selector = { arch: 'amd64' };
    const argv = ['sh', '-c', 'echo up; exec sleep 600'];
    const long = await client.submit(fleet.contract({ argv, timeout_sec: 600 }), { selector });
    await fleet.hasSpoken(long.executionId);
    const result = await client.run(fleet.contract({}), { selector, queueTimeoutMs: 100 });
    expect(result.execution.state).toBe(ExecutionState.EXPIRED);
    expect(result.receipt?.status).toBe('expired');
    await client.cancel(long.executionId, { gracePeriodMs: 0 });
    const ended = await client.follow(long.executionId);
    expect(ended.execution.state).toBe(ExecutionState.CANCELLED);
    expect(ended.receipt).toMatchObject({ status: 'failed', ended: 'cancelled' });
  });

  it.each([
    ['an allowlisted network', { network: 'allowlisted' as const }],
    ['the full network', { network: 'full' as const }],
    ['a secret', { secret_refs: ['token'] }],
  ])('blocks a contract that asks for %s, which no host of this version gives', async (_what, short) => {
    const result = await fleet.connect().run(fleet.contract(short));
    expect(result.execution).toMatchObject({
      state: ExecutionState.BLOCKED,
      error: expect.stringContaining('HOST_CEILING_EXCEEDED'),
    });
    expect(result.receipt).toMatchObject({ status: 'blocked', execution_mode: 'hardened' });
  });

  it('does not offer a contract to a host that does not hold the policy', async () => {
    fleet.write('policies/tests.yaml', testPolicy(fleet.workspace, { max_timeout_sec: 60 }));
    await fleet.gate.stop();
    await fleet.startGate();
    await Promise.all(
      ['small', 'large', 'lab'].map((name) =>
        fleet.executor(name).waitFor(/connected to the gate[\s\S]*connected to the gate/),
      ),
    );
    await expect(fleet.connect().run(fleet.contract({}), { queueTimeoutMs: 0 })).rejects.toMatchObject({
      code: 'NO_MATCHING_EXECUTOR',
      message: expect.stringMatching(/decides by, [0-9a-f]{64} \(\w+ has [0-9a-f]{64}/),
    });
  });
});

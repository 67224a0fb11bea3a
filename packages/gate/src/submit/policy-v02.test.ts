import type { JsonObject } from '@csc-fleet/common/encoding';
import { Verdict } from '@csc-fleet/common/messages';
import { parseTicket } from '@csc-fleet/common/ticket';
import { makeCommand, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { agent, policyLimits, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultGateLimits } from '../service/config.ts';

let test: TestGate;

beforeEach(async () => {
  test = await TestGate.open();
});

afterEach(async () => {
  await test.close();
  expect(test.errors).toEqual([]);
});

const limited = { policyProfile: 'limited' };
const { output } = defaultGateLimits();

/** The limits that the ticket of a contract under this profile grants; the ticket is a valid one. */
async function grantedBy(gate: TestGate, policyProfile: string): Promise<unknown> {
  const executor = await gate.connected('e1');
  await gate.submit(makeContract(), { policyProfile });
  const ticket = parseTicket((await executor.next('offer')).ticketJson);
  return ticket.ok ? ticket.value.grant.limits : ticket.faults;
}

describe('the limits of a ticket', () => {
  it('are the gate’s own under a policy of v0.1', async () => {
    expect(await grantedBy(test, 'default')).toEqual(output);
  });

  it('are narrowed by a policy that has some', async () => {
    expect(await grantedBy(test, 'limited')).toEqual({ ...output, ...policyLimits });
  });

  it('are never widened by it', async () => {
    const small = await TestGate.open({ limits: { output: { stdout_bytes: 1, stderr_bytes: 2 } } });
    try {
      expect(await grantedBy(small, 'limited')).toEqual({
        ...policyLimits,
        stdout_bytes: 1,
        stderr_bytes: 2,
      });
    } finally {
      await small.close();
    }
  });
});

describe('a contract under a policy of v0.2', () => {
  const twiceWrong = makeContract({ commands: [makeCommand({ timeout_sec: 61, cwd: '/etc' })] });

  it('is denied with every reason, in the decision and in the receipt', async () => {
    const { executionId, decision } = await test.submit(twiceWrong, limited);
    const codes = ['TIMEOUT_EXCEEDS_POLICY', 'CWD_NOT_ALLOWED'];
    expect(decision).toMatchObject({ verdict: Verdict.DENY, reasonCodes: codes });
    const artifact = JSON.parse(decision?.decisionJson.toString() ?? '') as JsonObject;
    expect(artifact).toMatchObject({ reason_codes: codes, policy_schema_version: 'csc.policy.v0.2' });
    expect(await test.receipt(executionId)).toMatchObject({
      status: 'blocked',
      policy_schema_version: 'csc.policy.v0.2',
      error: decision?.reasons.join('; '),
    });
  });

  it('has the version in the receipt of a cancelled one too', async () => {
    await test.connected('e1');
    await test.submit(makeContract(), limited);
    const { executionId } = await test.submit(makeContract(), limited);
    await test.as(agent).cancel({ executionId, gracePeriod: undefined });
    expect(await test.receipt(executionId)).toMatchObject({ policy_schema_version: 'csc.policy.v0.2' });
  });

  it('leaves the decisions and receipts of v0.1 as they were', async () => {
    const { executionId, decision } = await test.submit(twiceWrong);
    expect(decision?.reasonCodes).toEqual(['TIMEOUT_EXCEEDS_POLICY']);
    const artifact = JSON.parse(decision?.decisionJson.toString() ?? '') as JsonObject;
    expect(Object.keys(artifact)).not.toContain('policy_schema_version');
    expect(await test.receipt(executionId)).toMatchObject({ policy_schema_version: 'csc.policy.v0.1' });
  });
});

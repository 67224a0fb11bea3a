import { toExitCode } from '@csc-fleet/client/offline';
import { type Decision, type Execution, ExecutionState, Verdict } from '@csc-fleet/common/messages';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { describe, expect, it } from 'vitest';
import type { Paint } from '../terminal/text.ts';
import { describeDecision } from './decision.ts';
import { describeExecution } from './execution.ts';
import { describeCut, describeLeftOut, describeOutcome, type Outcome, toDecisionView } from './outcome.ts';
import { outcomeJson } from './presenter.ts';

function outcome(state: ExecutionState, exitCode?: number, more: Partial<Execution> = {}): Outcome {
  const execution: Execution = {
    executionId: 'exec-1',
    state,
    contractId: 'contract-1',
    contractSha256: 'a'.repeat(64),
    policyProfile: 'tests',
    principal: 'spiffe://csc.local/client/alice',
    executorId: 'host-1',
    submittedAt: undefined,
    startedAt: new Date(0),
    endedAt: new Date(2_500),
    error: '',
    intent: 'a test',
    ...(exitCode === undefined ? {} : { exitCode }),
    ...more,
  };
  const receiptJson = Buffer.alloc(0);
  return {
    executionId: 'exec-1',
    execution,
    decision: undefined,
    receipt: undefined,
    receiptJson,
    exitCode: toExitCode(execution),
  };
}

const plain = (_: unknown, text: string): string => text;

describe('the exit code of an outcome', () => {
  it.each([
    ['a success', ExecutionState.SUCCEEDED, 0, 0],
    ['a failure', ExecutionState.FAILED, 37, 37],
    ['a failure with exit code 0', ExecutionState.FAILED, 0, 1],
    ['a failure without one', ExecutionState.FAILED, undefined, 1],
    ['a failure with one that no process can have', ExecutionState.FAILED, 300, 1],
    ['a wait for an approval', ExecutionState.AWAITING_APPROVAL, undefined, 2],
    ['a refusal', ExecutionState.BLOCKED, undefined, 1],
    ['a cancelled run', ExecutionState.CANCELLED, 143, 143],
    ['one cancelled before it started', ExecutionState.CANCELLED, undefined, 130],
    ['one that was not started in time', ExecutionState.EXPIRED, undefined, 69],
    ['a lost one', ExecutionState.LOST, undefined, 69],
    ['a state that is not known', ExecutionState.UNRECOGNIZED, undefined, 69],
  ])('of %s', (_, state, exitCode, expected) => {
    expect(outcome(state, exitCode).exitCode).toBe(expected);
  });
});

describe('an outcome in words', () => {
  it('says where and how long', () => {
    expect(describeOutcome(outcome(ExecutionState.SUCCEEDED, 0), plain)).toBe(
      'SUCCESS — exit code 0 on host-1 in 2.5 s',
    );
  });

  it('shows an error of the host, made safe, once', () => {
    const failed = outcome(ExecutionState.FAILED, 126, { error: 'no \u001b[2J such\nfile' });
    expect(describeOutcome(failed, plain)).toBe(
      'FAILED — exit code 126 on host-1 in 2.5 s\n  no \\u001b[2J such file',
    );
    const blocked = outcome(ExecutionState.BLOCKED, undefined, { error: 'not here' });
    expect(describeOutcome(blocked, plain)).toBe('BLOCKED — not here');
  });

  it.each([
    ['approval required by approvals[0]: 2 of release and 1 of security', true],
    ['classified effect type requires approval: deploy', false],
  ])('says how people agree, and how to wait for them: %s', (message, isByGroups) => {
    const findings = [{ reasonCode: 'APPROVAL_REQUIRED', commandId: '', member: '', message }];
    const decision: Decision = {
      verdict: Verdict.NEEDS_APPROVAL,
      reasonCodes: ['APPROVAL_REQUIRED'],
      reasons: [message],
      findings,
      contractSha256: 'a'.repeat(64),
      policySha256: 'b'.repeat(64),
      policyProfile: 'tests',
      expiresAt: undefined,
      decisionJson: Buffer.alloc(0),
    };
    const say = (mustNameHost?: true) =>
      describeOutcome(
        {
          ...outcome(ExecutionState.AWAITING_APPROVAL, undefined, mustNameHost && { mustNameHost }),
          decision,
        },
        plain,
      );
    const text = say();
    expect(text).toContain('csc approve exec-1');
    expect(text).toMatch(/csc get exec-1 --follow waits for them .* needs nobody to stay/);
    expect(text).not.toContain('names the host');
    expect(say(true)).toContain('Stay with csc get exec-1 --follow: it names the host');
    expect(text.includes('--approval FILE')).toBe(!isByGroups);
    expect(text.includes('agree (2 of release and 1 of security)')).toBe(isByGroups);
    expect(text.includes('csc approvals shows them what waits')).toBe(isByGroups);
    const { execution } = outcome(ExecutionState.QUEUED, undefined, { mustNameHost: true });
    expect(describeExecution(execution, undefined, undefined)).toMatch(
      /waits for +its submitter, who must name its host: csc get exec-1 --follow/,
    );
    const asked = describeDecision(toDecisionView(decision), plain);
    expect(asked.includes('csc submit; then members of the groups agree')).toBe(isByGroups);
  });

  it.each([
    ['SUBMISSION_INVALID: the submission was refused: none came', 'sign it: csc login makes your key'],
    ['SUBMISSION_INVALID: bindings.yaml names no submission key', 'change what .* names; .*csc login'],
    [
      'SUBMISSION_INVALID: the token was refused: it names no issuer',
      'see that .*issuers.yaml and what the CI',
    ],
    ['CREDENTIALS_INVALID: the token was refused: it names no issuer', 'see that .*issuers.yaml'],
    [
      'CREDENTIALS_INVALID: it is not the CA that the token is of that answers at g:1',
      'give --ca the address',
    ],
    ['NOT_PERMITTED: no profile nope', 'in the policy where that is yours; in a fleet .*bindings.yaml'],
    ['SUBMISSION_REPLAYED: it was used', 'csc list.* submit again'],
    ['the owners have frozen the fleet', 'ask the owners of the fleet'],
  ])('says what to do about a refusal: %s', (error, advice) => {
    const [first, second] = describeOutcome(
      outcome(ExecutionState.BLOCKED, undefined, { error }),
      plain,
    ).split('\n');
    expect(first).toBe(`BLOCKED — ${error}`);
    expect(second).toMatch(new RegExp(`^What to do: .*${advice}`));
  });
});

it('says in JSON by which reason nothing ran, and what to do', () => {
  const refused = outcome(ExecutionState.BLOCKED, undefined, { error: 'SCOPE_NOT_FOUND: /a is not there' });
  expect(outcomeJson(refused)).toMatchObject({
    refusal: {
      reason: 'SCOPE_NOT_FOUND',
      message: '/a is not there',
      remedy: 'make it, open the directories above it to the job user, or select another host',
    },
  });
  const denied = outcome(ExecutionState.BLOCKED, undefined, { error: 'command not allowed: rm' });
  expect(outcomeJson(denied)).not.toHaveProperty('refusal');
});

it('names the expected outputs that a receipt has no hash of, the first few of many', () => {
  const receipt = { receipt_version: 'csc.receipt.v0.2' } as ReceiptV02;
  const first = Array.from({ length: 6 }, (_, i) => ({ path: `/w/o${i}\u202e`, reason: 'missing' as const }));
  expect(describeLeftOut(undefined)).toEqual([]);
  expect(describeLeftOut(receipt)).toEqual([]);
  const [line = '', ...rest] = describeLeftOut({ ...receipt, artifacts_left_out: { count: 9, first } });
  expect(rest).toEqual([]);
  expect(line).toMatch(/^csc: WARNING 9 expected outputs are not in the receipt: \/w\/o0/);
  expect(line).toMatch(/\/w\/o4[^,]* \(nothing is there\), and 4 more$/);
});

it('says of an output with a name that is not UTF-8 that no receipt can name it', () => {
  const receipt = { receipt_version: 'csc.receipt.v0.2' } as ReceiptV02;
  const path = '/w/caf\ufffd';
  const leftOut = {
    ...receipt,
    artifacts_left_out: { count: 1, first: [{ path, reason: 'missing' as const }] },
  };
  expect(describeLeftOut(leftOut, ['/w/'])[0]).toContain(
    '(its name is not UTF-8, so it cannot be in a receipt)',
  );
  expect(describeLeftOut(leftOut, [path])[0]).toContain('(nothing is there)');
});

it('says of cut output who can let more of it be kept', () => {
  const line = describeCut('stdout', 1);
  expect(line).toContain('cut after 1 byte');
  for (const it of ['--stdout-bytes', 'limits.stdout_bytes', 'ceiling.stdout_bytes'])
    expect(line).toContain(it);
});

describe('a decision', () => {
  const view = (reasonCode: string) => ({
    verdict: 'deny' as const,
    reasons: ['no'],
    findings: [{ reasonCode, member: '', message: 'no' }],
    contractSha256: 'a'.repeat(64),
  });
  const plain: Paint = (_, text) => text;

  it.each([
    ['CWD_NOT_ALLOWED', 'ask for less in the contract'],
    ['EMERGENCY_DENY_ALL', 'ask the owners of the fleet'],
  ])('of %s says what to do about it', (reasonCode, advice) => {
    expect(describeDecision(view(reasonCode), plain)).toContain(advice);
  });

  it('of a gate names the policy, and that others may be used', () => {
    const ofGate = { ...view('CWD_NOT_ALLOWED'), policyProfile: 'inspect' };
    expect(describeDecision(ofGate, plain)).toMatch(/policy inspect allows.*--profile NAME; csc profiles/);
    expect(describeDecision({ ...ofGate, policyProfile: '' }, plain)).not.toContain('--profile');
    const stopped = { ...view('EMERGENCY_DENY_ALL'), policyProfile: 'inspect' };
    expect(describeDecision(stopped, plain)).not.toContain('--profile');
  });
});

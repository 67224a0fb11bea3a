import type { CommandContract } from '@csc-fleet/common/contract';
import type { Clock } from '@csc-fleet/common/encoding';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { isCscError } from '@csc-fleet/common/errors';
import { Decision, ExecutionState } from '@csc-fleet/common/messages';
import { bindPolicy, type PolicyDocument } from '@csc-fleet/common/policy';
import { type ApprovalRules, isCleared, standingOf } from '../approval/standing.ts';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import type { Finisher } from '../execution/finisher.ts';
import { fromStoredApprovals, toStoredApprovals } from '../execution/row.ts';
import { revocable, submissionOf } from '../execution/submission-of.ts';
import type { Owners, ReloadableOwners } from '../owners/index.ts';
import { type Decided, type DecisionPorts, decide } from './decide.ts';

export interface ReconsiderPorts extends DecisionPorts, ApprovalRules {
  readonly executions: Pick<Executions, 'moving' | 'contract'>;
  readonly finisher: Pick<Finisher, 'unstarted'>;
  readonly scheduler: {
    /** Takes an execution out of the queue; false where it is being placed. */
    withdraw(executionId: string): boolean;
    enqueue(execution: LiveExecution): void;
  };
  readonly policies: ReloadableOwners['policies'];
  readonly bindings: ReloadableOwners['bindings'];
  readonly owners: Pick<Owners, 'whyStopped' | 'approvers' | 'version'>;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/**
 * Holds what waits against what the owners say now: what they allow no more ends blocked, with a receipt that says why,
 * and what another version of its policy allows, too, goes on under that one, as no host holds the old one any longer.
 * What is offered or runs is for its host to judge.
 */
export async function reconsider(ports: ReconsiderPorts): Promise<void> {
  for (const execution of [...ports.executions.moving()]) {
    await reconsiderOne(ports, execution).catch(ports.onError);
  }
}

async function reconsiderOne(ports: ReconsiderPorts, execution: LiveExecution): Promise<void> {
  const { row } = execution;
  const isQueued = row.state === ExecutionState.QUEUED;
  if (!isQueued && !execution.awaitsApproval) return;
  const why = whyStopped(ports, execution);
  const policy = why === undefined ? policyOf(ports, execution) : why;
  if (typeof policy !== 'string' && policy.sha256 === row.policy_sha256) return;
  if (typeof policy !== 'string' && !isQueued) return decideWaiting(ports, execution, policy);
  if (isQueued && !ports.scheduler.withdraw(execution.id)) return;
  const verdict = typeof policy === 'string' ? policy : await decideAnew(ports, execution, policy);
  if (verdict === undefined) ports.scheduler.enqueue(execution);
  else await ports.finisher.unstarted(execution, ExecutionState.BLOCKED, verdict);
}

function whyStopped({ owners }: ReconsiderPorts, { row }: LiveExecution): string | undefined {
  const { principal, policy_profile: profile, execution_id: executionId } = row;
  return owners.whyStopped({ principal, profile, executionId, ...revocable(submissionOf(row)) });
}

// The profile as it is now, or why its principal may not use it any more.
function policyOf({ bindings, policies }: ReconsiderPorts, { row }: LiveExecution): PolicyDocument | string {
  try {
    return bindPolicy(bindings, policies, row.principal, row.policy_profile);
  } catch (error) {
    if (isCscError(error, 'NOT_PERMITTED')) return error.message;
    throw error;
  }
}

/** What people agreed to was another version: who is asked by this one is asked anew, and what it denies ends. */
async function decideWaiting(
  ports: ReconsiderPorts,
  execution: LiveExecution,
  policy: PolicyDocument,
): Promise<void> {
  const now = ports.clock.now();
  // It waits no longer than it did.
  const standsUntil = new Date(execution.row.decision_expires_at);
  const decided = await decideBy({ ...ports, standsUntil }, execution, policy, now);
  const { verdict, reasons } = decided.evaluation;
  // Whoever submitted it does so anew.
  if (verdict === 'allow' || !execution.awaitsApproval) return;
  if (verdict === 'deny') {
    const why = `the owners have published another policy ${policy.policy.name}, which does not allow it: ${reasons.join('; ')}`;
    return ports.finisher.unstarted(execution, ExecutionState.BLOCKED, why);
  }
  const change = {
    policy_sha256: policy.sha256,
    decision: Decision.encode(decided.decision).finish(),
    approvals_json: toStoredApprovals([]),
  };
  await execution.hear(now, change, [{ $case: 'decided', value: { decision: decided.decision } }]);
}

async function decideBy(
  ports: ReconsiderPorts,
  execution: LiveExecution,
  policy: PolicyDocument,
  now: Date,
): Promise<Decided> {
  const contractJson = await ports.executions.contract(execution.id);
  const contract = JSON.parse(contractJson) as CommandContract;
  const handed = { contract, contractJson, contractSha256: execution.row.contract_sha256 };
  const asked = { terminal: execution.row.terminal_json !== null };
  return decide(handed, policy, undefined, ports, now, asked);
}

/** Undefined where it goes on, decided by this policy; otherwise why it does not. */
async function decideAnew(
  ports: ReconsiderPorts,
  execution: LiveExecution,
  policy: PolicyDocument,
): Promise<string | undefined> {
  const now = ports.clock.now();
  const decided = await decideBy(ports, execution, policy, now);
  const approvals = fromStoredApprovals(execution.row.approvals_json);
  const { row } = execution;
  const approvable = { ...decided, principal: row.principal, submission: submissionOf(row) };
  const standing = standingOf(approvable, approvals, ports, now);
  if (!isCleared(standing)) {
    const reasons = decided.evaluation.reasons.join('; ');
    return `the owners have published another policy ${policy.policy.name}, which does not allow it: ${reasons}`;
  }
  const change = {
    policy_sha256: policy.sha256,
    decision: Decision.encode(decided.decision).finish(),
    decision_expires_at: toTimestamp(decided.expiresAt),
  };
  const reason = 'the owners have published another version of its policy, which allows it, too';
  await execution.advance(now, { change, happened: [{ $case: 'queued', value: { position: 0, reason } }] });
  return undefined;
}

import { countApprovals, orThrowObjection, toConsumed } from '@csc-fleet/common/approval';
import { canonicalJson } from '@csc-fleet/common/encoding';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import { queueDeadline } from '../schedule/scheduler.ts';
import type { GateContext } from '../service/context.ts';
import type { Decided } from '../submit/decide.ts';
import type { Wishes } from '../submit/wishes.ts';
import { toStoredApprovals } from './stored-approvals.ts';

/** Where a decided contract stands with the approvals that came with it. */
export interface Approvals {
  /** It needed approval and has it. */
  readonly approved: boolean;
  /** Nothing stands in its way. */
  readonly runs: boolean;
  readonly usedUp: readonly string[];
}

/**
 * Throws APPROVAL_INVALID for the first approval that does not count, and for a contract that would wait for a consent
 * which this gate cannot count.
 */
export function readApprovals(
  gate: GateContext,
  { contract, contractSha256, evaluation }: Decided,
  wishes: Wishes,
): Approvals {
  const { consent, counted } = orThrowObjection(
    countApprovals(evaluation, wishes.approvals, {
      by: 'gate',
      acceptUnsigned: gate.acceptUnsignedApprovals,
      dualControl: gate.dualControl,
      contract,
      contractSha256,
      now: wishes.now,
    }),
  );
  const approved = consent === 'given';
  return {
    approved,
    runs: approved || evaluation.verdict === 'allow',
    usedUp: toConsumed(counted).map(({ approvalId }) => approvalId),
  };
}

/** The same contract of the same principal, decided by the same policy, that waits for just these approvals. */
export function findAwaiting(gate: GateContext, decided: Decided, wishes: Wishes): LiveExecution | undefined {
  for (const execution of gate.executions.open()) {
    if (takesApprovals(execution, decided, wishes)) return execution;
  }
  return undefined;
}

/** True where the approvals of this request are for this execution. */
export function takesApprovals(execution: LiveExecution, decided: Decided, wishes: Wishes): boolean {
  const { principal, contract_sha256: contract, policy_sha256: policy } = execution.row;
  return (
    execution.awaitsApproval &&
    wishes.approvals.length > 0 &&
    principal === wishes.principal &&
    contract === decided.contractSha256 &&
    policy === decided.policy.sha256
  );
}

/** Lets an execution go on that awaits approval; throws APPROVAL_INVALID where another one has used them up. */
export async function approve(
  gate: GateContext,
  execution: LiveExecution,
  wishes: Wishes,
  approvals: Approvals,
  keyIsNew: boolean,
): Promise<LiveExecution> {
  // The later request says how it is to run.
  const change = {
    state: ExecutionState.QUEUED,
    selector_json: canonicalJson(wishes.selector),
    receipt_version: wishes.receiptVersion,
    approvals_json: toStoredApprovals(wishes.approvals),
    queue_deadline: queueDeadline(wishes.now, wishes.queueWaitMs),
  };
  const happened = [gate.scheduler.queuedEvent('approved')];
  const key = keyIsNew ? wishes.key : undefined;
  const usage = {
    principal: wishes.principal,
    now: wishes.now,
    bytes: Buffer.byteLength(change.approvals_json),
    bytesPerDay: gate.limits.storedBytesPerDay,
  };
  await execution.approve(wishes.now, { change, happened, approvals: approvals.usedUp, key, usage });
  return execution;
}

import { randomUUID } from 'node:crypto';
import { canonicalJson, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { Decision, ExecutionState } from '@csc-fleet/common/messages';
import type { Approvals } from '../approval/approve.ts';
import { toStoredApprovals } from '../approval/stored-approvals.ts';
import type { Happening, LiveExecution } from '../execution/execution.ts';
import type { NewLiveExecution } from '../execution/executions.ts';
import { signGateReceipt } from '../execution/gate-receipt.ts';
import { queueDeadline, requirementOf } from '../schedule/scheduler.ts';
import type { GateContext } from '../service/context.ts';
import type { NewExecution } from '../store/tables.ts';
import type { Decided } from './decide.ts';
import type { Wishes } from './wishes.ts';

/**
 * Makes what was decided durable: a denial with its receipt, what may run with its place in the queue or on an executor.
 * Resolves to undefined where the idempotency key is taken. Throws APPROVAL_INVALID, QUEUE_FULL,
 * RATE_LIMITED, STORE_UNAVAILABLE.
 */
export function record(
  gate: GateContext,
  decided: Decided,
  wishes: Wishes,
  approvals: Approvals,
): Promise<LiveExecution | undefined> {
  const row = toRow(decided, wishes, approvals, gate.keepDeniedContracts);
  const { key } = wishes;
  const happened: Happening[] = [{ $case: 'decided', value: { decision: decided.decision } }];
  if (decided.evaluation.verdict === 'deny') {
    const receiptJson = deniedReceipt(gate, decided, wishes, row.execution_id);
    happened.push(gate.ending.finishedEvent(row, receiptJson));
    return gate.executions.create(wishes.now, { row, happened, receiptJson, approvals: [], key });
  }
  if (approvals.runs) {
    const fresh = {
      row,
      happened: [...happened, gate.scheduler.queuedEvent()],
      approvals: approvals.usedUp,
      key,
    };
    return recordAndPlace(gate, wishes.now, fresh);
  }
  checkAwaiting(gate);
  return gate.executions.create(wishes.now, { row, happened, approvals: [], key });
}

// What awaits approval is in memory for as long as its decision stands.
function checkAwaiting({ executions, limits }: GateContext): void {
  let count = 0;
  for (const { row } of executions.open()) if (row.state === ExecutionState.AWAITING_APPROVAL) count++;
  if (count < limits.maxQueued) return;
  const message = `${count} executions await approval already: approve or cancel some of them first`;
  throw new CscError('QUEUE_FULL', message, { retryAfterMs: 60_000 });
}

// Where an executor is free, one write records the execution and its placement, and the offer leaves right after it.
async function recordAndPlace(
  { scheduler, executions }: GateContext,
  now: Date,
  fresh: NewLiveExecution,
): Promise<LiveExecution | undefined> {
  const { row, happened } = fresh;
  const placement = scheduler.reserve(row, requirementOf(row));
  if (placement === undefined) return executions.create(now, fresh);
  try {
    const execution = await executions.create(now, {
      ...fresh,
      row: { ...row, ...placement.change },
      happened: [...happened, placement.happened],
    });
    if (execution === undefined) scheduler.release(placement);
    else scheduler.send(execution, placement, row.contract_json);
    return execution;
  } catch (error) {
    scheduler.release(placement);
    throw error;
  }
}

function toRow(
  decided: Decided,
  wishes: Wishes,
  approvals: Approvals,
  keepDenied: boolean,
): NewExecution & { execution_id: string } {
  const { contract, evaluation, policy } = decided;
  const denied = evaluation.verdict === 'deny';
  const now = toTimestamp(wishes.now);
  return {
    execution_id: randomUUID(),
    principal: wishes.principal,
    state: denied
      ? ExecutionState.BLOCKED
      : approvals.runs
        ? ExecutionState.QUEUED
        : ExecutionState.AWAITING_APPROVAL,
    contract_id: contract.contract_id,
    contract_sha256: decided.contractSha256,
    // A denial is kept by its hash and findings: it will never run, and may be a megabyte that somebody sent to fill the disk.
    contract_json: denied && !keepDenied ? '' : canonicalJson(contract),
    intent: contract.intent,
    policy_profile: policy.policy.name,
    policy_sha256: policy.sha256,
    decision: Decision.encode(decided.decision).finish(),
    decision_expires_at: toTimestamp(decided.expiresAt),
    selector_json: canonicalJson(wishes.selector),
    receipt_version: wishes.receiptVersion,
    approvals_json: toStoredApprovals(approvals.approved ? wishes.approvals : []),
    submitted_at: now,
    queue_deadline: approvals.runs ? queueDeadline(wishes.now, wishes.queueWaitMs) : null,
    executor_id: null,
    ticket_id: null,
    limits_json: null,
    started_at: null,
    ended_at: denied ? now : null,
    exit_code: null,
    error: denied ? evaluation.reasons.join('; ') : '',
  };
}

function deniedReceipt(gate: GateContext, decided: Decided, wishes: Wishes, executionId: string): Buffer {
  const { contract, evaluation, policy } = decided;
  return signGateReceipt(
    {
      status: 'blocked',
      ended: 'refused',
      contractId: contract.contract_id,
      contractSha256: decided.contractSha256,
      executionId,
      policyProfile: policy.policy.name,
      policySchemaVersion: policy.policy.policy_schema_version,
      policySha256: policy.sha256,
      receiptVersion: wishes.receiptVersion,
      submittedAt: wishes.now,
      error: evaluation.reasons.join('; '),
    },
    gate.signer,
    wishes.now,
  );
}

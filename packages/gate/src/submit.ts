import { randomUUID } from 'node:crypto';
import { canonicalJson, type JsonObject, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import { Decision, ExecutionState, type SubmitRequest, toMilliseconds } from '@csc-fleet/common/messages';
import { bindPolicy, type PolicyDocument } from '@csc-fleet/common/policy';
import { type ReceiptVersion, receiptVersions } from '@csc-fleet/common/receipt';
import { checkApprovals, usedUp } from './approval/check-approvals.ts';
import { toStoredApprovals } from './approval/stored-approvals.ts';
import type { GateContext } from './context.ts';
import { type Decided, decide, readContract } from './decide.ts';
import type { Happening, LiveExecution } from './execution/execution.ts';
import type { NewLiveExecution } from './execution/executions.ts';
import { signGateReceipt } from './execution/gate-receipt.ts';
import type { Requirement } from './schedule/peers.ts';
import { queueDeadline, requirementOf } from './schedule/scheduler.ts';
import type { IdempotencyKey } from './store/store.ts';
import type { NewExecution } from './store/tables.ts';

export interface Submitted {
  readonly execution: LiveExecution;
  /** True where the idempotency key had been seen. */
  readonly existing: boolean;
}

/** What a request asks for beside its contract, read and checked. */
interface Wishes {
  readonly principal: string;
  readonly now: Date;
  readonly selector: Record<string, string>;
  readonly approvals: readonly Buffer[];
  readonly key: IdempotencyKey | undefined;
  readonly receiptVersion: ReceiptVersion;
  readonly queueWaitMs: number;
}

const maxKeyLength = 256;
const maxLabels = 64;
const maxLabelLength = 256;
const maxApprovals = 16;

/**
 * Takes a contract: decides, records and queues. The caller has authenticated and limited it. Resolves once the
 * execution is on disk; a denial is such an execution too. Throws CONTRACT_INVALID, NOT_PERMITTED, APPROVAL_INVALID,
 * IDEMPOTENCY_CONFLICT, NO_MATCHING_EXECUTOR, QUEUE_FULL, STORE_UNAVAILABLE.
 */
export async function submit(
  gate: GateContext,
  principal: string,
  request: SubmitRequest,
): Promise<Submitted> {
  const wishes = readWishes(gate, principal, request);
  const contract = readContract(request.contract);
  const policy = bindPolicy(gate.bindings, gate.policies, principal, request.policyProfile);
  const decided = decide(gate, contract, policy, wishes.now);
  const existing = await findExisting(gate, decided, wishes);
  if (existing !== undefined && !takesApprovals(existing, decided, wishes)) {
    return { execution: existing, existing: true };
  }
  const approvals = readApprovals(gate, decided, wishes);
  if (approvals.runs) gate.scheduler.checkRoom(requirementFor(wishes, policy));
  const waiting = approvals.approved ? (existing ?? findAwaiting(gate, decided, wishes)) : undefined;
  const execution =
    waiting === undefined
      ? await record(gate, decided, wishes, approvals)
      : await approve(gate, waiting, wishes, approvals, existing === undefined);
  if (execution === undefined) return { execution: await raced(gate, decided, wishes), existing: true };
  if (execution.row.state === ExecutionState.QUEUED) gate.scheduler.enqueue(execution);
  return { execution, existing: existing !== undefined };
}

function requirementFor({ selector }: Wishes, { policy, sha256 }: PolicyDocument): Requirement {
  return { selector, policySha256: sha256, policyProfile: policy.name };
}

function readWishes(gate: GateContext, principal: string, request: SubmitRequest): Wishes {
  const { selector, idempotencyKey, approvalsJson, options } = request;
  if (idempotencyKey.length > maxKeyLength)
    throw badRequest(`idempotency_key is longer than ${maxKeyLength} characters`);
  const labels = Object.entries(selector);
  if (labels.length > maxLabels) throw badRequest(`selector has more than ${maxLabels} labels`);
  if (labels.flat().some((text) => text.length > maxLabelLength))
    throw badRequest(`selector has a label of more than ${maxLabelLength} characters`);
  if (approvalsJson.length > maxApprovals)
    throw badRequest(`approvals_json has more than ${maxApprovals} approvals`);
  const asked = options?.receiptVersion ?? '';
  const receiptVersion = asked === '' ? 'csc.receipt.v0.2' : receiptVersions.find((it) => it === asked);
  if (receiptVersion === undefined) {
    throw badRequest(`receipt_version ${quoteBriefly(asked)} is not one of ${receiptVersions.join(', ')}`);
  }
  const longest = gate.limits.queueTimeoutSec * 1000;
  const wait = options?.queueTimeout === undefined ? longest : toMilliseconds(options.queueTimeout);
  return {
    principal,
    now: gate.clock.now(),
    selector,
    approvals: approvalsJson,
    key: idempotencyKey === '' ? undefined : { principal, idempotency_key: idempotencyKey },
    receiptVersion,
    queueWaitMs: Math.max(0, Math.min(wait, longest)),
  };
}

function badRequest(message: string): CscError {
  return new CscError('CONTRACT_INVALID', message);
}

async function findExisting(
  gate: GateContext,
  decided: Decided,
  wishes: Wishes,
): Promise<LiveExecution | undefined> {
  if (wishes.key === undefined) return undefined;
  const found = await gate.executions.findByKey(wishes.key);
  if (found !== undefined && found.row.contract_sha256 !== decided.contractSha256) {
    throw new CscError(
      'IDEMPOTENCY_CONFLICT',
      'this idempotency key belongs to another contract: use a new key for a new contract',
    );
  }
  return found;
}

// The same key came twice at once, and the other one was first.
async function raced(gate: GateContext, decided: Decided, wishes: Wishes): Promise<LiveExecution> {
  const found = await findExisting(gate, decided, wishes);
  if (found !== undefined) return found;
  throw new CscError('STORE_UNAVAILABLE', 'the execution could not be recorded: try again', {
    retryAfterMs: 1000,
  });
}

interface Approvals {
  /** It needed approval and has it. */
  readonly approved: boolean;
  /** Nothing stands in its way. */
  readonly runs: boolean;
  readonly usedUp: readonly string[];
}

function readApprovals(
  gate: GateContext,
  { contractSha256, evaluation }: Decided,
  wishes: Wishes,
): Approvals {
  if (evaluation.verdict !== 'needs_approval') {
    return { approved: false, runs: evaluation.verdict === 'allow', usedUp: [] };
  }
  const rules = { contractSha256, now: wishes.now, acceptUnsigned: gate.acceptUnsignedApprovals };
  const approvals = checkApprovals(wishes.approvals, rules);
  const approved = approvals.length > 0;
  return { approved, runs: approved, usedUp: usedUp(approvals) };
}

// The same contract of the same principal, decided by the same policy, that waits for just these approvals.
function findAwaiting(gate: GateContext, decided: Decided, wishes: Wishes): LiveExecution | undefined {
  for (const execution of gate.executions.open()) {
    if (takesApprovals(execution, decided, wishes)) return execution;
  }
  return undefined;
}

function takesApprovals(execution: LiveExecution, decided: Decided, wishes: Wishes): boolean {
  const { principal, contract_sha256: contract, policy_sha256: policy } = execution.row;
  return (
    execution.awaitsApproval &&
    wishes.approvals.length > 0 &&
    principal === wishes.principal &&
    contract === decided.contractSha256 &&
    policy === decided.policy.sha256
  );
}

async function approve(
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
  const happened = [queued(gate, 'approved')];
  const key = keyIsNew ? wishes.key : undefined;
  await execution.approve(wishes.now, { change, happened, approvals: approvals.usedUp, key });
  return execution;
}

function queued(gate: GateContext, reason = ''): Happening {
  return { $case: 'queued', value: { position: gate.scheduler.queued, reason } };
}

/** Undefined where the idempotency key is taken. */
function record(
  gate: GateContext,
  decided: Decided,
  wishes: Wishes,
  approvals: Approvals,
): Promise<LiveExecution | undefined> {
  const row = toRow(decided, wishes, approvals);
  const { key } = wishes;
  const happened: Happening[] = [{ $case: 'decided', value: { decision: decided.decision } }];
  if (decided.evaluation.verdict === 'deny') {
    const receiptJson = deniedReceipt(gate, decided, wishes, row.execution_id);
    happened.push(gate.ending.finishedEvent(row, receiptJson));
    return gate.executions.create(wishes.now, { row, happened, receiptJson, approvals: [], key });
  }
  if (approvals.runs) {
    const fresh = { row, happened: [...happened, queued(gate)], approvals: approvals.usedUp, key };
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
    contract_json: canonicalJson(contract as unknown as JsonObject),
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
    started_at: null,
    ended_at: denied ? now : null,
    exit_code: null,
    error: denied ? (evaluation.reasons[0] ?? '') : '',
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
      policySha256: policy.sha256,
      receiptVersion: wishes.receiptVersion,
      submittedAt: wishes.now,
      error: evaluation.reasons.join('; '),
    },
    gate.signer,
    wishes.now,
  );
}

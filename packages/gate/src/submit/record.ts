import { randomUUID } from 'node:crypto';
import type { Signer } from '@csc-fleet/common/crypto';
import { mustBeBound } from '@csc-fleet/common/decision';
import { canonicalJson, earliest, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { Decision, ExecutionState } from '@csc-fleet/common/messages';
import { type TraceContext, toStoredTrace } from '@csc-fleet/common/tracing';
import { type Approved, isCleared, type Standing } from '../approval/standing.ts';
import type { Happening, LiveExecution } from '../execution/execution.ts';
import type { NewLiveExecution, Principal } from '../execution/executions.ts';
import { toFinished } from '../execution/finisher.ts';
import { signGateReceipt, toGatesOwn } from '../execution/gate-receipt.ts';
import { toStoredApprovals } from '../execution/row.ts';
import type { NewExecution } from '../store/tables.ts';
import type { IdempotencyKey } from '../store/write-step.ts';
import type { Decided } from './decide.ts';
import { queueDeadline, type Terms } from './terms.ts';

/** A submission of which it is known what becomes of it. */
export interface Judged<Outcome extends Standing = Standing> {
  readonly principal: Principal;
  readonly now: Date;
  readonly terms: Terms;
  readonly decided: Decided;
  readonly standing: Outcome;
  /** Where it belongs in a trace; undefined: in none. */
  readonly trace: TraceContext | undefined;
}

/** What its executor must have is in here. */
type Waiting = Pick<
  NewExecution,
  'selector_json' | 'policy_sha256' | 'policy_profile' | 'principal' | 'submission_json'
>;

export interface RecordPorts {
  /** Signs the receipt of a denial. */
  readonly signer: Signer;
  /** Whether a denied contract's text is stored, beside its hash and what was found. */
  readonly keepDeniedContracts: boolean;
  readonly scheduler: {
    /** What is told of an execution that joins the queue now. */
    queuedEvent(row: Waiting, reason?: string): Happening;
  };
}

/** All that is to be durable of it: a denial with its receipt, and of what is cleared that it is queued. */
export function record(
  judged: Judged,
  { signer, keepDeniedContracts, scheduler }: RecordPorts,
): NewLiveExecution {
  const { decided, standing, terms } = judged;
  const row = toRow(judged, keepDeniedContracts ? 'kept' : 'dropped');
  const happened: Happening[] = [{ $case: 'decided', value: { decision: decided.decision } }];
  const commandIds = decided.contract.commands.map(({ id }) => id);
  const identity = terms.submission?.identity;
  const entry = { row, happened, approvals: [], key: terms.key, commandIds, identity };
  if (standing.is === 'waiting') return entry;
  if (isCleared(standing)) {
    const approvals = standing.is === 'approved' ? standing.usedUp : [];
    return { ...entry, happened: [...happened, scheduler.queuedEvent(row)], approvals };
  }
  const receiptJson = deniedReceipt(judged, row.execution_id, signer);
  return { ...entry, happened: [...happened, toFinished(row, toGatesOwn(receiptJson))], receiptJson };
}

const states = {
  denied: ExecutionState.BLOCKED,
  waiting: ExecutionState.AWAITING_APPROVAL,
  allowed: ExecutionState.QUEUED,
  approved: ExecutionState.QUEUED,
} as const;

function toRow(judged: Judged, ifDenied: 'kept' | 'dropped'): NewExecution {
  const { principal, now, terms, decided, standing, trace } = judged;
  const { contract, evaluation, policy } = decided;
  const isDenied = standing.is === 'denied';
  // A denial is kept by its hash and findings: it will never run, and may be a megabyte that somebody sent to fill the disk.
  const isKept = !isDenied || ifDenied === 'kept';
  return {
    execution_id: randomUUID(),
    principal: principal.uri,
    state: states[standing.is],
    contract_id: contract.contract_id,
    contract_sha256: decided.contractSha256,
    contract_json: isKept ? decided.contractJson : '',
    intent: contract.intent,
    policy_profile: policy.policy.name,
    policy_sha256: policy.sha256,
    decision: Decision.encode(decided.decision).finish(),
    // Nobody can agree to what no host would start any more.
    decision_expires_at: toTimestamp(earliest(decided.expiresAt, terms.startsBy)),
    selector_json: canonicalJson(terms.selector),
    receipt_version: terms.receiptVersion,
    approvals_json: toStoredApprovals(
      standing.is === 'approved' || standing.is === 'waiting' ? standing.texts : [],
    ),
    submission_json: terms.submission?.text ?? null,
    submission_token: isDenied ? null : tokenOf(terms),
    binding: bindingDue(terms, decided),
    terminal_json: terminalJson(terms),
    submitted_at: toTimestamp(now),
    queue_deadline: placedBy(judged),
    executor_id: null,
    ticket_id: null,
    limits_json: null,
    ticket_epoch: null,
    started_at: null,
    ended_at: isDenied ? toTimestamp(now) : null,
    exit_code: null,
    error: isDenied ? evaluation.reasons.join('; ') : '',
    trace_context: trace === undefined ? null : toStoredTrace(trace),
    pruned_at: null,
  };
}

// Of what waits for people it is known only by when any host would have to begin; the rest counts from when they agree.
function placedBy({ standing, terms, decided, now }: Judged): string | null {
  if (isCleared(standing)) return queueDeadline(terms, decided.policy, standing, now);
  return standing.is === 'denied' || terms.startsBy === undefined ? null : toTimestamp(terms.startsBy);
}

// For the host, and for no longer than it takes to get there.
function tokenOf({ submissionToken }: Terms): string | null {
  return submissionToken === '' ? null : submissionToken;
}

function terminalJson({ terminal }: Terms): string | null {
  return terminal === undefined ? null : canonicalJson(terminal);
}

// What nobody has signed, nobody can bind.
function bindingDue({ submission }: Terms, { contract, policy }: Decided): 'host' | null {
  return submission !== undefined && mustBeBound(contract, policy) ? 'host' : null;
}

function deniedReceipt({ now, terms, decided }: Judged, executionId: string, signer: Signer): Buffer {
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
      receiptVersion: terms.receiptVersion,
      submittedAt: now,
      error: evaluation.reasons.join('; '),
    },
    signer,
    now,
  );
}

export interface ApprovePorts {
  readonly scheduler: RecordPorts['scheduler'];
  /** Bytes that are stored for this principal in a day. */
  readonly storedBytesPerDay: (principal: string) => number;
}

/**
 * Records the approvals that an execution waits for: it is queued. The later request says how it is to run. Throws
 * APPROVAL_INVALID where another one has used them up.
 * @param key stands for this execution from now on, too
 */
export async function recordApproval(
  execution: LiveExecution,
  { principal, now, terms, decided, standing, trace }: Judged<Approved>,
  key: IdempotencyKey | undefined,
  { scheduler, storedBytesPerDay }: ApprovePorts,
): Promise<void> {
  const change = {
    state: ExecutionState.QUEUED,
    selector_json: canonicalJson(terms.selector),
    receipt_version: terms.receiptVersion,
    approvals_json: toStoredApprovals(standing.texts),
    submission_json: terms.submission?.text ?? null,
    submission_token: tokenOf(terms),
    binding: bindingDue(terms, decided),
    terminal_json: terminalJson(terms),
    queue_deadline: queueDeadline(terms, decided.policy, standing, now),
    ...(trace === undefined ? {} : { trace_context: toStoredTrace(trace) }),
  };
  const bytes = Buffer.byteLength(change.approvals_json) + Buffer.byteLength(terms.submission?.text ?? '');
  await execution.approve(now, {
    change,
    happened: [scheduler.queuedEvent({ ...execution.row, ...change }, 'approved')],
    approvals: standing.usedUp,
    key,
    usage: { principal: principal.uri, now, bytes, bytesPerDay: storedBytesPerDay(principal.uri) },
  });
}

/**
 * Throws QUEUE_FULL: what waits for approval is in memory for as long as its decision stands.
 * @param most executions of all, and of this principal
 */
export function checkWaiting(
  open: Iterable<LiveExecution>,
  principal: string,
  most: { readonly all: number; readonly own: number },
): void {
  let all = 0;
  let own = 0;
  for (const { row } of open) {
    if (row.state !== ExecutionState.AWAITING_APPROVAL) continue;
    all++;
    if (row.principal === principal) own++;
  }
  if (all < most.all && own < most.own) return;
  const whose = own >= most.own ? `${own} of your executions` : `${all} executions`;
  const message = `${whose} await approval already: approve or cancel some of them first`;
  throw new CscError('QUEUE_FULL', message, { retryAfterMs: 60_000 });
}

import type { Clock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { CheckRequest, CheckResponse, SubmitRequest } from '@csc-fleet/common/messages';
import { type Bindings, bindPolicy, type PolicySet } from '@csc-fleet/common/policy';
import { type Timed, untimed } from '@csc-fleet/common/telemetry';
import { type TraceContext, type Tracing, traced, tracedNow } from '@csc-fleet/common/tracing';
import {
  type ApprovalRules,
  type ApprovalSubject,
  findWaiting,
  isCleared,
  type Standing,
  standingOf,
  takesApprovals,
} from './approval/standing.ts';
import type { LiveExecution } from './execution/execution.ts';
import type { Executions, NewLiveExecution, Principal } from './execution/executions.ts';
import { revocable } from './execution/submission-of.ts';
import type { Owners } from './owners/index.ts';
import type { Mint, Placement } from './schedule/mint.ts';
import { withSubmission } from './schedule/requirement.ts';
import type { Scheduler } from './schedule/scheduler.ts';
import type { ContractMemo } from './submit/contract-memo.ts';
import { checkNotStopped, type Decided, type DecisionPorts, decide } from './submit/decide.ts';
import type { SubmissionRates } from './submit/rates.ts';
import { checkWaiting, type Judged, type RecordPorts, record, recordApproval } from './submit/record.ts';
import { openHandedToken, type SubmissionRules, takeSubmission } from './submit/submission.ts';
import { queueWaitMs, readTerms, type Terms } from './submit/terms.ts';

export interface CheckPorts extends DecisionPorts {
  readonly clock: Clock;
  readonly policies: PolicySet;
  readonly bindings: Bindings;
  readonly owners: Pick<Owners, 'whyStopped'>;
  readonly contracts: Pick<ContractMemo, 'read'>;
}

export interface SubmitPorts extends CheckPorts, ApprovalRules, RecordPorts, SubmissionRules {
  readonly executions: Pick<Executions, 'findByKey' | 'open' | 'create'>;
  readonly scheduler: Pick<
    Scheduler,
    'checkRoom' | 'comes' | 'queuedEvent' | 'takeSeat' | 'giveBack' | 'offerAhead' | 'offer' | 'enqueue'
  >;
  readonly mint: Mint;
  readonly limits: {
    /** Executions that wait, for an executor or for approval, of all principals together. */
    readonly maxQueued: number;
    readonly queueTimeoutSec: number;
  };
  /** Bytes that are stored for this principal in a day. */
  readonly storedBytesPerDay: (principal: string) => number;
  readonly owners: Pick<Owners, 'whyStopped' | 'limitsOf' | 'approvers' | 'version' | 'issuers'>;
  readonly rates: Pick<SubmissionRates, 'take'>;
  /** Absent: nobody asks how long its steps take. */
  readonly timed?: Timed<'decide' | 'record'>;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

export interface Submitted {
  readonly execution: LiveExecution;
  /** True where the idempotency key had been seen. */
  readonly existing: boolean;
}

/**
 * The way of a contract, from here to an executor: parse ▸ submission ▸ bind ▸ evaluate ▸ approvals ▸ record ▸ place ▸
 * mint ▸ offer.
 * Whoever calls has been limited and authenticated (traffic/ and rpc/interceptors.ts), which is what a Principal says.
 * What it has of a trace is kept with the execution.
 * Resolves once the execution is on disk; a denial is such an execution too. Throws CONTRACT_INVALID, SUBMISSION_INVALID,
 * SUBMISSION_EXPIRED, WRONG_AUDIENCE, CONTRACT_HASH_MISMATCH, REQUEST_INVALID, NOT_PERMITTED, APPROVAL_INVALID, IDEMPOTENCY_CONFLICT, NO_MATCHING_EXECUTOR, QUEUE_FULL, RATE_LIMITED,
 * STORE_UNAVAILABLE.
 */
export async function submit(
  ports: SubmitPorts,
  principal: Principal,
  request: SubmitRequest,
  trace?: TraceContext,
): Promise<Submitted> {
  const { submissionToken = '' } = request;
  const token = submissionToken === '' ? undefined : await openHandedToken(submissionToken, ports);
  const now = ports.clock.now();
  const { handed, judge } = ports.contracts.read(principal.uri, request.contract);
  const { contractSha256 } = handed;
  const submission = takeSubmission(request, { principal, contractSha256, token, now }, ports);
  const { queueTimeoutSec } = ports.limits;
  const terms = readTerms(request, { principal, submission, now, queueTimeoutSec });
  const policy = bindPolicy(ports.bindings, ports.policies, principal.uri, terms.policyProfile);
  const subject = { principal: principal.uri, profile: policy.policy.name, ...revocable(submission) };
  const stopped = ports.owners.whyStopped(subject);
  const { timed = untimed, signer, decisionTtlSec } = ports;
  const asked = { terminal: terms.terminal !== undefined };
  // What the submission itself says, its submitter knows.
  const standsUntil = submission?.identity?.startsBy;
  const decided = timed('decide', () =>
    tracedNow(
      ports.tracing,
      'csc.gate.decide',
      { parent: trace, facts: { 'csc.profile': subject.profile } },
      () => decide(handed, policy, stopped, { signer, decisionTtlSec, standsUntil, judge }, now, asked),
    ),
  );
  const known = await findKnown(ports, terms, decided);
  const bringsApprovals = request.approvalsJson.length > 0;
  if (known !== undefined && !(bringsApprovals && takesApprovals(known, toSubject(principal, decided))))
    return { execution: known, existing: true };
  checkNotStopped(policy, stopped);
  const approvable = { ...decided, principal: principal.uri, submission };
  const standing = standingOf(approvable, request.approvalsJson, ports, now);
  checkRoom(ports, principal, terms, decided, standing);
  ports.rates.take(principal.uri);
  const judged = { principal, now, terms, decided, standing, trace };
  const waited = await approveWaiting(ports, judged, known);
  if (waited !== undefined) return { execution: waited, existing: known !== undefined };
  const execution = await recordAndOffer(ports, judged);
  if (execution === undefined) return { execution: await findFirst(ports, terms, decided), existing: true };
  return { execution, existing: false };
}

/**
 * record ▸ place ▸ mint ▸ offer. Where an executor is free, one write records the execution and where it is placed, and
 * the offer leaves, or counts, once that is on disk: a gate that comes back must not make another one. Where none is, it is recorded
 * and waits, and the scheduler does the same when its turn comes. Undefined where its idempotency key is taken.
 */
async function recordAndOffer(ports: SubmitPorts, judged: Judged): Promise<LiveExecution | undefined> {
  const { scheduler, executions, timed = untimed } = ports;
  const entry = record(judged, ports);
  const seat = isCleared(judged.standing) ? scheduler.takeSeat(entry.row) : undefined;
  if (seat === undefined) return recordAndWait(ports, judged, entry);
  try {
    const placement = ports.mint(entry.row, seat);
    const facts = { 'csc.execution.id': entry.row.execution_id, 'csc.executor.id': seat.peer.name };
    const place = () => {
      const created = executions.create(judged.now, withPlacement(entry, placement));
      scheduler.offerAhead(placement, entry.row, entry.row.contract_json);
      return created;
    };
    const execution = await timed('record', () =>
      traced(ports.tracing, 'csc.gate.place', { parent: judged.trace, facts }, place),
    );
    if (execution === undefined) scheduler.giveBack(seat);
    else scheduler.offer(execution, placement, entry.row.contract_json);
    return execution;
  } catch (error) {
    scheduler.giveBack(seat);
    throw error;
  }
}

async function recordAndWait(
  { scheduler, executions, timed = untimed }: SubmitPorts,
  { principal, now, standing }: Judged,
  entry: NewLiveExecution,
): Promise<LiveExecution | undefined> {
  const isHere = isCleared(standing)
    ? scheduler.comes(principal.uri, entry.row.execution_id)
    : () => undefined;
  try {
    const execution = await timed('record', () => executions.create(now, entry));
    if (execution !== undefined) scheduler.enqueue(execution);
    return execution;
  } finally {
    isHere();
  }
}

function withPlacement(entry: NewLiveExecution, { change, happened }: Placement): NewLiveExecution {
  return { ...entry, row: { ...entry.row, ...change }, happened: [...entry.happened, happened] };
}

/** Lets an execution go on that waited for these approvals; undefined where there is none. */
async function approveWaiting(
  ports: SubmitPorts,
  { standing, ...judged }: Judged,
  known: LiveExecution | undefined,
): Promise<LiveExecution | undefined> {
  if (standing.is !== 'approved') return undefined;
  const { principal, decided, terms } = judged;
  const waiting = known ?? findWaiting(ports.executions.open(), toSubject(principal, decided));
  if (waiting === undefined) return undefined;
  // The key by which it is known stands for it already.
  const key = known === undefined ? terms.key : undefined;
  await recordApproval(waiting, { ...judged, standing }, key, ports);
  ports.scheduler.enqueue(waiting);
  return waiting;
}

/** Decides and runs nothing: the first steps of a submission. Throws CONTRACT_INVALID, NOT_PERMITTED. */
export function check(ports: CheckPorts, principal: Principal, request: CheckRequest): CheckResponse {
  const { handed, judge } = ports.contracts.read(principal.uri, request.contract);
  const policy = bindPolicy(ports.bindings, ports.policies, principal.uri, request.policyProfile);
  const stopped = ports.owners.whyStopped({ principal: principal.uri, profile: policy.policy.name });
  checkNotStopped(policy, stopped);
  const asked = { terminal: request.terminal };
  const { signer, decisionTtlSec, clock } = ports;
  const decided = decide(handed, policy, stopped, { signer, decisionTtlSec, judge }, clock.now(), asked);
  return { decision: decided.decision };
}

function toSubject(principal: Principal, { contractSha256, policy }: Decided): ApprovalSubject {
  return { principal: principal.uri, contractSha256, policySha256: policy.sha256 };
}

// Before anything is recorded: what cannot be placed, or would wait with too many others, is refused.
function checkRoom(
  { scheduler, executions, limits, owners }: SubmitPorts,
  { uri: principal }: Principal,
  terms: Terms,
  { policy }: Decided,
  standing: Standing,
): void {
  if (standing.is === 'waiting') {
    const most = { all: limits.maxQueued, own: owners.limitsOf(principal).queued };
    checkWaiting(executions.open(), principal, most);
  }
  if (!isCleared(standing)) return;
  const { name: policyProfile } = policy.policy;
  const own = { selector: terms.selector, policySha256: policy.sha256, policyProfile, principal };
  const requirement = withSubmission(own, terms.submission);
  scheduler.checkRoom(requirement, queueWaitMs(terms, policy));
}

/** The execution that this idempotency key stands for; undefined where there is none. Throws IDEMPOTENCY_CONFLICT. */
async function findKnown(
  { executions }: Pick<SubmitPorts, 'executions'>,
  { key }: Terms,
  { contractSha256 }: Decided,
): Promise<LiveExecution | undefined> {
  if (key === undefined) return undefined;
  const found = await executions.findByKey(key);
  if (found !== undefined && found.row.contract_sha256 !== contractSha256) {
    throw new CscError(
      'IDEMPOTENCY_CONFLICT',
      'this idempotency key belongs to another contract: use a new key for a new contract',
    );
  }
  return found;
}

// The same key came twice at once, and the other one was first.
async function findFirst(ports: SubmitPorts, terms: Terms, decided: Decided): Promise<LiveExecution> {
  const found = await findKnown(ports, terms, decided);
  if (found !== undefined) return found;
  throw new CscError('STORE_UNAVAILABLE', 'the execution could not be recorded: try again', {
    retryAfterMs: 1000,
  });
}

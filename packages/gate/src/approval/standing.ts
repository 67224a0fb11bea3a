import { countApprovals, type DualControl, orThrowObjection, toConsumed } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import type { Evaluation } from '@csc-fleet/common/decision';
import type { LiveExecution } from '../execution/execution.ts';

/** What becomes of a contract that was decided, with the approvals that came with it. */
export type Standing = Denied | Waiting | Allowed | Approved;

export interface Denied {
  readonly is: 'denied';
}

/** It needs an approval, and has none. */
export interface Waiting {
  readonly is: 'waiting';
}

export interface Allowed {
  readonly is: 'allowed';
}

/** It needed an approval, and has it. */
export interface Approved {
  readonly is: 'approved';
  /** As they came: they go with the offer. */
  readonly texts: readonly Buffer[];
  /** Ids of those that one execution uses up. */
  readonly usedUp: readonly string[];
}

/** True where nothing stands in its way. */
export function isCleared(standing: Standing): standing is Allowed | Approved {
  return standing.is === 'allowed' || standing.is === 'approved';
}

/** What was decided, as far as approvals are bound to it. */
export interface Approvable {
  readonly contract: CommandContract;
  readonly contractSha256: string;
  readonly evaluation: Pick<Evaluation, 'verdict'>;
}

export interface ApprovalRules {
  /** Whether this gate's owner has said that v0.1 approvals, which nobody has signed, count. */
  readonly acceptUnsignedApprovals: boolean;
  /** What a contract's dual_control_required comes to. */
  readonly dualControl: DualControl;
}

/**
 * Counts the approvals that came with a contract (protocol §6); that single_execution ones are used only once is for the
 * store to see to. Throws APPROVAL_INVALID for the first that does not count, and for a contract that would wait for a
 * consent which this gate cannot count.
 */
export function standingOf(
  { contract, contractSha256, evaluation }: Approvable,
  texts: readonly Buffer[],
  { acceptUnsignedApprovals: acceptUnsigned, dualControl }: ApprovalRules,
  now: Date,
): Standing {
  const rules = { by: 'gate', acceptUnsigned, dualControl, contract, contractSha256, now } as const;
  const { consent, counted } = orThrowObjection(countApprovals(evaluation, texts, rules));
  if (consent === 'missing') return { is: 'waiting' };
  if (consent === 'not_needed') return { is: evaluation.verdict === 'allow' ? 'allowed' : 'denied' };
  return { is: 'approved', texts, usedUp: toConsumed(counted).map(({ approvalId }) => approvalId) };
}

/** Whose approvals of what. */
export interface ApprovalSubject {
  readonly principal: string;
  readonly contractSha256: string;
  readonly policySha256: string;
}

/** True where approvals of this are for this execution: it waits for them, decided by the same policy. */
export function takesApprovals({ row, awaitsApproval }: LiveExecution, subject: ApprovalSubject): boolean {
  return (
    awaitsApproval &&
    row.principal === subject.principal &&
    row.contract_sha256 === subject.contractSha256 &&
    row.policy_sha256 === subject.policySha256
  );
}

/** The first execution that waits for just these approvals. */
export function findWaiting(
  open: Iterable<LiveExecution>,
  subject: ApprovalSubject,
): LiveExecution | undefined {
  for (const execution of open) if (takesApprovals(execution, subject)) return execution;
  return undefined;
}

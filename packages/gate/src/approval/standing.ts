import {
  type ApprovalCount,
  countApprovals,
  type DualControl,
  orThrowObjection,
  submissionContentSha256,
  toConsumed,
} from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { type Evaluation, wantedApprovals } from '@csc-fleet/common/decision';
import { parseTimestamp } from '@csc-fleet/common/encoding';
import { type Bindings, type PolicyDocument, submitterKeys } from '@csc-fleet/common/policy';
import type { LiveExecution } from '../execution/execution.ts';
import type { HeldSubmission } from '../execution/submission-of.ts';
import type { Owners } from '../owners/index.ts';

/** What becomes of a contract that was decided, with the approvals that came with it. */
export type Standing = Denied | Waiting | Allowed | Approved;

export interface Denied {
  readonly is: 'denied';
}

/** It needs an approval, and has none, or not all of them. */
export interface Waiting {
  readonly is: 'waiting';
  /** Those that count so far. */
  readonly texts: readonly Buffer[];
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
  /** When they count no more, so that no host starts it. */
  readonly until: Date;
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
  readonly policy: PolicyDocument;
  readonly principal: string;
  /** Absent: nobody has signed one. */
  readonly submission: HeldSubmission | undefined;
}

export interface ApprovalRules {
  /** Whether this gate's owner has said that v0.1 approvals, which nobody has signed, count. */
  readonly acceptUnsignedApprovals: boolean;
  /** What a contract's dual_control_required comes to. */
  readonly dualControl: DualControl;
  readonly trustDomain: string;
  readonly bindings: Bindings;
  readonly owners: Pick<Owners, 'approvers' | 'version'>;
}

/**
 * Counts the approvals that came with a contract (protocol §6); that single_execution ones are used only once is for the
 * store to see to. Throws APPROVAL_INVALID for the first that does not count, for a rejection, and for a contract that would
 * wait for a consent which this gate cannot count.
 */
export function standingOf(
  approvable: Approvable,
  texts: readonly Buffer[],
  rules: ApprovalRules,
  now: Date,
): Standing {
  const { consent, counted } = orThrowObjection(countFor(approvable, texts, rules, now));
  if (consent === 'missing') return { is: 'waiting', texts };
  if (consent === 'not_needed')
    return { is: approvable.evaluation.verdict === 'allow' ? 'allowed' : 'denied' };
  const until = consentEnds(approvable, { texts, counted }, rules, now);
  return { is: 'approved', texts, usedUp: toConsumed(counted).map(({ approvalId }) => approvalId), until };
}

/** When so many of these approvals will have expired that the others are not enough. */
export function consentEnds(
  approvable: Approvable,
  { texts, counted }: { readonly texts: readonly Buffer[] } & Pick<ApprovalCount, 'counted'>,
  rules: ApprovalRules,
  now: Date,
): Date {
  const ends = counted
    .map((it) => parseTimestamp(it.expires_at) ?? now)
    .sort((a, b) => a.getTime() - b.getTime());
  const isGivenAt = (at: Date) => countFor(approvable, texts, rules, at).consent === 'given';
  return ends.find((at) => !isGivenAt(at)) ?? ends.at(-1) ?? now;
}

/** Which of these approvals count for it, by what the owners say now, and how far they come. Hosts count for themselves. */
export function countFor(
  { contract, contractSha256, evaluation, policy, principal, submission }: Approvable,
  texts: readonly Buffer[],
  { acceptUnsignedApprovals: acceptUnsigned, dualControl, trustDomain, bindings, owners }: ApprovalRules,
  now: Date,
): ApprovalCount {
  const rules = { by: 'gate', acceptUnsigned, dualControl, contract, contractSha256, now } as const;
  const approvers = owners.approvers();
  const wanted = wantedApprovals(contract, policy);
  if (approvers === undefined) return countApprovals(evaluation, texts, { ...rules, wanted });
  const signed = {
    approvers,
    trustDomain,
    principal,
    policyProfile: policy.policy.name,
    policySha256: policy.sha256,
    policyVersion: owners.version(),
    submissionSha256: submission === undefined ? undefined : submissionContentSha256(submission.submission),
    submitterKeys: [...namedKeys(bindings, principal), ...tokenKeys(submission)],
    submissionKeysOf: (of: string) => namedKeys(bindings, of),
  };
  return countApprovals(evaluation, texts, { ...rules, wanted, signed });
}

function namedKeys(bindings: Bindings, principal: string): Uint8Array[] {
  return (submitterKeys(bindings, principal)?.entries() ?? []).map((it) => it.publicKey);
}

// Where a token says who it is, its own key has signed.
function tokenKeys(held: HeldSubmission | undefined): Uint8Array[] {
  if (held?.submission.token_sha256 === undefined) return [];
  return [Buffer.from(held.submission.signature.key_id, 'base64')];
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

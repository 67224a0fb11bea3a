import {
  type ApprovalConfig,
  type CountedApproval,
  countApprovals,
  orThrowObjection,
  type SignedSubject,
} from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { describeQuorum, wantedApprovals } from '@csc-fleet/common/decision';
import { parseTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { type PolicyDocument, submitterKeys } from '@csc-fleet/common/policy';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import { offerLimits } from './offer.ts';
import type { PermittedContract } from './reevaluate.ts';
import type { SubmittedTicket } from './submission.ts';

/** What this host's owner has said of approvals. */
export type HostApprovalConfig = Omit<ApprovalConfig, 'by'>;

class Approved {
  protected readonly step = 'approved';
  readonly contract: CommandContract;
  readonly ticket: ExecutionTicket;
  readonly verifiedAt: Date;
  readonly document: PolicyDocument;
  /** Those that count; none where the contract needs none. */
  readonly approvals: readonly CountedApproval[];
  readonly submitted: SubmittedTicket;

  constructor(
    { contract, ticket, verifiedAt, document, submitted }: PermittedContract,
    approvals: readonly CountedApproval[],
  ) {
    this.contract = contract;
    this.ticket = ticket;
    this.verifiedAt = verifiedAt;
    this.document = document;
    this.approvals = approvals;
    this.submitted = submitted;
  }
}

/**
 * Whoever the policy wants to be asked has said yes, as far as this host can tell. That it was said for this execution
 * alone, only the journal knows.
 */
export type ApprovedContract = Approved;

/** What of this host approvals are held against. */
export interface ApprovalPlace {
  readonly trustDomain: string;
  readonly executorId: string;
  /** When this host's journal began: what was used up before, it cannot know. */
  readonly journalBornAt: () => Date;
}

/**
 * Counts once more the approvals that came with an offer: those that the ticket names, by this owner's rules, and by the
 * approvers.yaml of this host's own copy of the policy repository. Throws APPROVAL_INVALID where those that the contract needs
 * are not there, where one does not count, where somebody has rejected it, or where the contract asks for two people's and
 * nobody is named who could sign.
 * @param approvalsJson as the gate sent them
 */
export function checkApprovals(
  permitted: PermittedContract,
  approvalsJson: readonly Uint8Array[],
  { acceptUnsigned, dualControl }: HostApprovalConfig,
  place: ApprovalPlace,
): ApprovedContract {
  if (approvalsJson.length > offerLimits.approvals) {
    const message = `at most ${offerLimits.approvals} approvals may come with a ticket, not ${approvalsJson.length}`;
    throw new CscError('APPROVAL_INVALID', message);
  }
  const { contract, ticket, evaluation, document, verifiedAt: now, submitted } = permitted;
  const { approval_ids: named } = ticket;
  const { contractSha256 } = submitted;
  const rules = { by: 'host', acceptUnsigned, dualControl, contract, contractSha256, now, named } as const;
  const wanted = wantedApprovals(contract, document);
  const signed = toSignedSubject(permitted, place);
  const count = countApprovals(evaluation, approvalsJson, { ...rules, wanted, signed });
  const { consent, counted, quorum = [] } = orThrowObjection(count);
  if (consent !== 'missing') {
    checkJournalKnows(counted, place);
    return new Approved(permitted, counted);
  }
  if (approvalsJson.length === 0)
    throw new CscError(
      'APPROVAL_INVALID',
      'the contract needs approval, and no approval came with the ticket',
    );
  const has = quorum.map((it) => ({ group: it.group, count: it.approvedBy.length }));
  const message = `the contract needs approval: ${describeQuorum(wanted.quorum)}, ${wanted.people} in all; what came with the ticket is ${describeQuorum(has)}`;
  throw new CscError('APPROVAL_INVALID', message);
}

// All of it is this host's own, or was signed by who submitted.
function toSignedSubject(
  { ticket, document, submitted }: PermittedContract,
  { trustDomain, executorId }: ApprovalPlace,
): Omit<SignedSubject, 'contractSha256' | 'now'> | undefined {
  const { approvers, bindings, version } = submitted.owners;
  if (approvers === undefined || bindings === undefined) return undefined;
  const { principal } = ticket;
  const { submission } = submitted;
  const submissionKeysOf = (of: string): Uint8Array[] =>
    (submitterKeys(bindings, of)?.entries() ?? []).map((it) => it.publicKey);
  return {
    approvers,
    trustDomain,
    executorId,
    principal,
    policyProfile: document.policy.name,
    policySha256: document.sha256,
    policyVersion: version,
    submissionSha256: submission?.contentSha256,
    submitterKeys: [
      ...submissionKeysOf(principal),
      // Its own, which a token names.
      ...(submission?.identity === undefined ? [] : [Buffer.from(submission.keyId, 'base64')]),
    ],
    submissionKeysOf,
  };
}

// What is for one execution of whichever submission may have been used by a journal that is lost.
function checkJournalKnows(counted: readonly CountedApproval[], { journalBornAt }: ApprovalPlace): void {
  const single = counted.filter(({ kind, scope }) => kind === 'signed' && scope === 'single_execution');
  if (single.length === 0) return;
  const bornAt = journalBornAt();
  for (const { approval_id: id, approved_at: at } of single) {
    if (at === undefined || (parseTimestamp(at) ?? new Date(0)) >= bornAt) continue;
    const message = `the approval ${id} was signed before this host's journal began, at ${bornAt.toISOString()}: it may have been used then; approve again`;
    throw new CscError('APPROVAL_INVALID', message);
  }
}

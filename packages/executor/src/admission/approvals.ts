import {
  type ApprovalArtifact,
  type ApprovalConfig,
  countApprovals,
  orThrowObjection,
} from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import type { PolicyDocument } from '@csc-fleet/common/policy';
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
  readonly approvals: readonly ApprovalArtifact[];
  readonly submitted: SubmittedTicket;

  constructor(
    { contract, ticket, verifiedAt, document, submitted }: PermittedContract,
    approvals: readonly ApprovalArtifact[],
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

/**
 * Counts once more the approvals that came with an offer: those that the ticket names, by this owner's rules. Throws
 * APPROVAL_INVALID where there is none that the contract needs, where one does not count, or where the contract asks for
 * two people's.
 * @param approvalsJson as the gate sent them
 */
export function checkApprovals(
  permitted: PermittedContract,
  approvalsJson: readonly Uint8Array[],
  { acceptUnsigned, dualControl }: HostApprovalConfig,
): ApprovedContract {
  if (approvalsJson.length > offerLimits.approvals) {
    const message = `at most ${offerLimits.approvals} approvals may come with a ticket, not ${approvalsJson.length}`;
    throw new CscError('APPROVAL_INVALID', message);
  }
  const { contract, ticket, evaluation, verifiedAt: now } = permitted;
  const { approval_ids: named, contract_sha256: contractSha256 } = ticket;
  const rules = { by: 'host', acceptUnsigned, dualControl, contract, contractSha256, now, named } as const;
  const { consent, counted } = orThrowObjection(countApprovals(evaluation, approvalsJson, rules));
  if (consent !== 'missing') return new Approved(permitted, counted);
  throw new CscError('APPROVAL_INVALID', 'the contract needs approval, and no approval came with the ticket');
}

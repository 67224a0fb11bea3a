import {
  type ApprovalArtifact,
  type ApprovalConfig,
  countApprovals,
  orThrowObjection,
} from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import type { Evaluation } from '@csc-fleet/common/decision';
import { CscError } from '@csc-fleet/common/errors';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import { offerLimits } from '../service/limits.ts';

/** What the approvals of an offer are held against. */
export interface ApprovalChecks {
  readonly contract: CommandContract;
  readonly ticket: ExecutionTicket;
  readonly now: Date;
  /** Whether this host's operator lets approvals count that nobody has signed. */
  readonly acceptUnsignedApprovals: boolean;
  /** What this host's operator makes of a contract that asks for two people's consent. */
  readonly dualControl: ApprovalConfig['dualControl'];
}

/**
 * The approvals that a contract needs and that the ticket names, each counted again on this host; none where the
 * contract needs none. Throws APPROVAL_INVALID where there is none that it needs, where one does not count, or where
 * the contract asks for two people's.
 */
export function checkApprovals(
  evaluation: Evaluation,
  approvalsJson: readonly Uint8Array[],
  { contract, ticket, now, acceptUnsignedApprovals: acceptUnsigned, dualControl }: ApprovalChecks,
): readonly ApprovalArtifact[] {
  if (approvalsJson.length > offerLimits.approvals) {
    const message = `at most ${offerLimits.approvals} approvals may come with a ticket, not ${approvalsJson.length}`;
    throw new CscError('APPROVAL_INVALID', message);
  }
  const { approval_ids: named, contract_sha256: contractSha256 } = ticket;
  const rules = { by: 'host', acceptUnsigned, dualControl, contract, contractSha256, now, named } as const;
  const { consent, counted } = orThrowObjection(countApprovals(evaluation, approvalsJson, rules));
  if (consent !== 'missing') return counted;
  throw new CscError('APPROVAL_INVALID', 'the contract needs approval, and no approval came with the ticket');
}

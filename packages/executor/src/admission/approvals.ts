import {
  type ApprovalArtifact,
  checkApproval,
  checkDualControl,
  type DualControl,
  parseApproval,
} from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import type { Evaluation } from '@csc-fleet/common/decision';
import { parseTimestamp } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import type { ConsumedApproval } from '../journal/index.ts';
import { offerLimits } from '../service/limits.ts';

/** What the approvals of an offer are held against. */
export interface ApprovalChecks {
  readonly contract: CommandContract;
  readonly ticket: ExecutionTicket;
  readonly now: Date;
  /** Whether this host's operator lets approvals count that nobody has signed. */
  readonly acceptUnsignedApprovals: boolean;
  /** What this host's operator makes of a contract that asks for two people's consent. */
  readonly dualControl: DualControl;
}

/**
 * The approvals that a contract needs and that the ticket names, each checked again on this host; none where the
 * contract needs none. Throws APPROVAL_INVALID where there is none that it needs, where one does not count, or where
 * the contract asks for two people's.
 */
export function checkApprovals(
  { verdict }: Evaluation,
  approvalsJson: readonly Uint8Array[],
  { contract, ticket, now, acceptUnsignedApprovals, dualControl }: ApprovalChecks,
): ApprovalArtifact[] {
  if (verdict !== 'needs_approval') return [];
  checkDualControl(contract, { dualControl, by: 'host' });
  if (approvalsJson.length > offerLimits.approvals) {
    const message = `at most ${offerLimits.approvals} approvals may come with a ticket, not ${approvalsJson.length}`;
    throw new CscError('APPROVAL_INVALID', message);
  }
  const named = approvalsJson
    .map((bytes) => orThrow(parseApproval(bytes), 'APPROVAL_INVALID', 'an approval'))
    .filter(({ approval_id: id }) => ticket.approval_ids.includes(id));
  if (named.length === 0) {
    throw new CscError(
      'APPROVAL_INVALID',
      'the contract needs approval, and no approval came with the ticket',
    );
  }
  if (!acceptUnsignedApprovals) {
    const why =
      "this host does not accept approvals that nobody signed (accept_unsigned_approvals in the executor's config)";
    throw new CscError('APPROVAL_INVALID', why);
  }
  for (const approval of named) checkApproval(approval, { contractSha256: ticket.contract_sha256, now });
  return named;
}

/** Those that one execution uses up. */
export function toConsumed(approvals: readonly ApprovalArtifact[]): ConsumedApproval[] {
  return approvals
    .filter(({ scope }) => scope === 'single_execution')
    .map(({ approval_id, expires_at }) => ({
      approvalId: approval_id,
      expiresAt: parseTimestamp(expires_at) ?? new Date(8.64e15),
    }));
}

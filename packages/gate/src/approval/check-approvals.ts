import { type ApprovalArtifact, checkApproval, parseApproval } from '@csc-fleet/common/approval';
import { CscError, orThrow } from '@csc-fleet/common/errors';

export interface ApprovalRules {
  readonly contractSha256: string;
  readonly now: Date;
  /** Whether this gate's owner has said that v0.1 approvals, which nobody has signed, count. */
  readonly acceptUnsigned: boolean;
}

/**
 * The approvals that came with a contract, each of them good for it (protocol §6); that single_execution ones are
 * used only once is for the store to see to. Throws APPROVAL_INVALID for the first that is not.
 */
export function checkApprovals(texts: readonly Uint8Array[], rules: ApprovalRules): ApprovalArtifact[] {
  const approvals = texts.map((text, index) =>
    orThrow(parseApproval(text), 'APPROVAL_INVALID', `approval ${index + 1}`),
  );
  if (approvals.length > 0 && !rules.acceptUnsigned) {
    const message =
      'this gate does not count approvals of version csc.approval.v0.1, because nobody has signed them; ' +
      'its owner can say that they count with accept_unsigned_approvals: true';
    throw new CscError('APPROVAL_INVALID', message);
  }
  for (const approval of approvals) checkApproval(approval, rules);
  return approvals;
}

/** Ids of those that one execution uses up. */
export function usedUp(approvals: readonly ApprovalArtifact[]): string[] {
  return [...new Set(approvals.filter((it) => it.scope === 'single_execution').map((it) => it.approval_id))];
}

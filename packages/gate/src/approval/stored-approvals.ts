import { parseApproval } from '@csc-fleet/common/approval';

/** The approvals of an execution as one column: a JSON array of their texts. */
export function toStoredApprovals(approvals: readonly Buffer[]): string {
  return JSON.stringify(approvals.map((it) => it.toString('utf8')));
}

export function parseStoredApprovals(text: string): Buffer[] {
  return (JSON.parse(text) as string[]).map((it) => Buffer.from(it, 'utf8'));
}

/** Their ids; those that do not parse were never stored. */
export function approvalIds(approvals: readonly Buffer[]): string[] {
  return approvals.flatMap((it) => {
    const approval = parseApproval(it);
    return approval.ok ? [approval.value.approval_id] : [];
  });
}

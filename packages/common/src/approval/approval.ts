import type * as z from 'zod';
import { artifactBytes, type JsonValue, parseTimestamp } from '../encoding/index.ts';
import { CscError, type Parsed, quoteBriefly } from '../errors/index.ts';
import { parseArtifact, validate } from '../schema/index.ts';
import { approvalSchema } from './schema.ts';

/** One person's consent to one contract (protocol §6). It is unsigned: whether it counts is the operator's choice. */
export type ApprovalArtifact = z.infer<typeof approvalSchema>;

/** What an approval is held against. */
export interface ApprovalContext {
  /** Hex, in either case. */
  readonly contractSha256: string;
  readonly now: Date;
}

/** Reads an approval from its JSON text. */
export function parseApproval(bytes: Uint8Array): Parsed<ApprovalArtifact> {
  return parseArtifact(bytes, artifactBytes.approval, approvalFromJson);
}

/** Validates an approval that is parsed already. */
export function approvalFromJson(value: JsonValue): Parsed<ApprovalArtifact> {
  return validate(approvalSchema, value);
}

/**
 * Throws APPROVAL_INVALID where the approval is for another contract, expires before it begins, or has expired. That
 * a single_execution approval is used only once is for its caller to see to, durably.
 */
export function checkApproval(approval: ApprovalArtifact, { contractSha256, now }: ApprovalContext): void {
  if (approval.contract_sha256.toLowerCase() !== contractSha256.toLowerCase()) {
    throw invalid(approval, 'it is for another contract: its contract_sha256 does not match');
  }
  const approvedAt = parseTimestamp(approval.approved_at);
  const expiresAt = parseTimestamp(approval.expires_at);
  if (approvedAt === undefined || expiresAt === undefined || expiresAt <= approvedAt) {
    throw invalid(approval, 'its expires_at must be later than its approved_at');
  }
  if (now >= expiresAt) throw invalid(approval, `it expired at ${approval.expires_at}`);
}

function invalid(approval: ApprovalArtifact, why: string): CscError {
  return new CscError(
    'APPROVAL_INVALID',
    `the approval ${quoteBriefly(approval.approval_id)} does not count: ${why}`,
  );
}

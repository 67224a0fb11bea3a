import { randomUUID } from 'node:crypto';
import type { ApprovalArtifact } from '@csc-fleet/common/approval';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { toTimestamp } from '@csc-fleet/common/encoding';

const hour = 3_600_000;

/** Consent to one execution of a contract, for the hour that begins at `at`; of nobody's signature. Default: a second ago. */
export function makeApproval(
  contract: CommandContract,
  overrides: Partial<ApprovalArtifact> = {},
  at: Date = new Date(Date.now() - 1000),
): ApprovalArtifact {
  return {
    approval_version: 'csc.approval.v0.1',
    approval_id: randomUUID(),
    contract_sha256: contractSha256(contract),
    approver: { identity: 'alice@example.org', method: 'cli' },
    approved_at: toTimestamp(at),
    expires_at: toTimestamp(new Date(at.getTime() + hour)),
    scope: 'single_execution',
    ...overrides,
  };
}

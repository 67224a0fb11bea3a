import { type Signer, signArtifact } from '@csc-fleet/common/crypto';
import { canonicalBytes, type JsonObject, toTimestamp } from '@csc-fleet/common/encoding';
import type { PolicyVersion } from '@csc-fleet/common/policy';
import { projectReceipt, type ReceiptV02, type ReceiptVersion } from '@csc-fleet/common/receipt';
import { softwareVersion } from './version.ts';

/** What the gate's own receipt says: nothing ran, and why. */
export interface NothingRan {
  readonly status: 'blocked' | 'expired';
  readonly ended: 'refused' | 'cancelled';
  readonly contractId: string;
  readonly contractSha256: string;
  readonly executionId: string;
  readonly policyProfile: string;
  /** Undefined where the policy is not held here any more. */
  readonly policySchemaVersion: PolicyVersion | undefined;
  readonly policySha256: string;
  readonly receiptVersion: ReceiptVersion;
  readonly submittedAt: Date;
  readonly error: string;
}

const maxError = 4000;

/** A receipt for an execution that never reached an executor, signed by the gate; canonical JSON. */
export function signGateReceipt(what: NothingRan, signer: Signer, now: Date): Buffer {
  const { policySchemaVersion } = what;
  const receipt: ReceiptV02 = {
    receipt_version: 'csc.receipt.v0.2',
    contract_id: what.contractId,
    execution_id: what.executionId,
    contract_sha256: what.contractSha256,
    status: what.status,
    started_at: toTimestamp(what.submittedAt),
    ended_at: toTimestamp(now),
    policy_profile: what.policyProfile,
    ...(policySchemaVersion === undefined ? {} : { policy_schema_version: policySchemaVersion }),
    policy_sha256: what.policySha256,
    runner_version: softwareVersion,
    signing_key_id: signer.keyId,
    completed_command_ids: [],
    error: [...what.error].slice(0, maxError).join(''),
    commands: [],
    ended: what.ended,
    approvals: [],
  };
  const versioned = what.receiptVersion === 'csc.receipt.v0.1' ? projectReceipt(receipt) : receipt;
  return canonicalBytes(signArtifact(versioned, signer, now) as unknown as JsonObject);
}

import type { Signer } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { sealReceipt, toReceiptError } from '@csc-fleet/common/evidence';
import type { PolicyVersion } from '@csc-fleet/common/policy';
import type { ReceiptV02, ReceiptVersion } from '@csc-fleet/common/receipt';
import { softwareVersion } from '@csc-fleet/common/version';
import type { StoredReceipt } from '../store/tables.ts';

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
    completed_command_ids: [],
    error: toReceiptError(what.error),
    commands: [],
    ended: what.ended,
    approvals: [],
  };
  return sealReceipt(receipt, { version: what.receiptVersion, signer, now }).receiptJson;
}

/** A receipt of the gate's own: it stands in no chain, and has no other form. */
export function toGatesOwn(receiptJson: Buffer): StoredReceipt {
  return { receiptJson, originalJson: Buffer.alloc(0) };
}

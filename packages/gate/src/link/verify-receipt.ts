import type { KeyRing } from '@csc-fleet/common/crypto';
import { verifyReceiptFor } from '@csc-fleet/common/evidence';
import type { ExecutionReceipt, ReceiptVersion } from '@csc-fleet/common/receipt';
import type { ExecutionRow } from '../store/tables.ts';

/**
 * An executor's receipt, held against what the gate knows: signed with that executor's own key, for this execution,
 * contract, policy and ticket. Throws RECEIPT_INVALID, SIGNATURE_INVALID, KEY_UNKNOWN.
 */
export function verifyExecutorReceipt(json: Uint8Array, row: ExecutionRow, keys: KeyRing): ExecutionReceipt {
  const expected = {
    executor: row.executor_id ?? '',
    executionId: row.execution_id,
    contractId: row.contract_id,
    contractSha256: row.contract_sha256,
    policyProfile: row.policy_profile,
    policySha256: row.policy_sha256,
    receiptVersion: row.receipt_version as ReceiptVersion,
    ticketId: row.ticket_id ?? '',
  };
  return verifyReceiptFor(expected, json, keys).receipt;
}

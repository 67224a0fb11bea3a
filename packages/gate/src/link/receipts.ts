import type { KeyRing } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { type ReceiptTexts, verifyReceiptFor } from '@csc-fleet/common/evidence';
import type { Identity } from '@csc-fleet/common/identity';
import type { ExecutionReceipt, ReceiptVersion } from '@csc-fleet/common/receipt';
import { requestInvalid } from '../bounds/index.ts';
import type { ExecutionRow } from '../store/tables.ts';

/**
 * An executor's receipt, held against what the gate knows: signed with that executor's own key, for this execution,
 * contract, policy and ticket. Throws RECEIPT_INVALID, SIGNATURE_INVALID, KEY_UNKNOWN.
 */
export function verifyExecutorReceipt(
  texts: ReceiptTexts,
  row: ExecutionRow,
  keys: KeyRing,
): ExecutionReceipt {
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
  return verifyReceiptFor(expected, texts, keys).receipt;
}

// An executor that means well brings what it owes once a connection, and owes no more than 4096 receipts: with a gate that
// has lost its store, none of them counts.
const most = 8192;

/** Counts what one connection sent that did not count, so that it costs a peer more than the log. */
export class Uncounted {
  #count = 0;

  /** For the log: now and then, with the number so far. Throws REQUEST_INVALID where there have been too many. */
  add(error: CscError, tell: (error: CscError, count: number) => void): void {
    this.#count += 1;
    if (Number.isInteger(Math.log2(this.#count))) tell(error, this.#count);
    if (this.#count >= most)
      throw requestInvalid('receipt', `did not count ${this.#count} times: begin again`);
  }
}

/** For the log: which receipt of which executor was not taken; the cause says why. */
export function notCounted(executor: Identity, executionId: string, cause: unknown): CscError {
  const message = `the receipt of ${executionId} from executor ${executor.uri} does not count`;
  return new CscError('RECEIPT_INVALID', message, { cause, executionId });
}

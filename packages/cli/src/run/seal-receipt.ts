import { canonicalBytes } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { sealReceipt } from '@csc-fleet/common/evidence';
import { type ExecutionReceipt, parseReceipt } from '@csc-fleet/common/receipt';
import type { Seal } from './signing.ts';

/**
 * A receipt of what never ran, which the gate has signed with a key that ends with this process: signed again with the
 * key that was asked for, and saying what the gate cannot know.
 */
export function resignBlocked(
  receiptJson: Uint8Array,
  known: Required<Pick<ExecutionReceipt, 'execution_mode' | 'error'>>,
  { signer }: Seal,
  now: Date,
): Buffer {
  const blocked: ExecutionReceipt = { ...read(receiptJson), ...known, status: 'blocked' };
  return sealReceipt(blocked, { version: blocked.receipt_version, signer, now }).receiptJson;
}

/** The receipt as it is written: without the signature and the key's id where they mean nothing to anybody. */
export function toWritten(receiptJson: Uint8Array, { keepSignature }: Seal): Uint8Array {
  if (keepSignature) return receiptJson;
  const { signature: _signature, signing_key_id: _keyId, ...rest } = read(receiptJson);
  return canonicalBytes(rest);
}

// What the gate and the executor of this very process have made.
function read(receiptJson: Uint8Array): ExecutionReceipt {
  return orThrow(parseReceipt(receiptJson), 'RECEIPT_INVALID', 'the receipt');
}

import type { KeyRing } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import {
  type ExpectedReceipt,
  type ReceiptSigner,
  type ReceiptTexts,
  verifyReceiptFor,
} from '@csc-fleet/common/evidence';
import type { ExecutionReceipt, ReceiptV02 } from '@csc-fleet/common/receipt';
import { toJsonBytes } from '../calls/request.ts';
import { checkSeen } from './chains.ts';
import type { KeySource } from './keys.ts';

/** A receipt that counts, and who vouches for it. */
export interface VerifiedReceipt {
  readonly receipt: ExecutionReceipt;
  readonly signer: ReceiptSigner;
  /** The form that stands in its executor's chain. Undefined for a gate's, and for a v0.1 that came without its original. */
  readonly chained: ReceiptV02 | undefined;
}

/**
 * Verifies a receipt's signature, then its form, then whose key it was, then that it is about what was expected. A key
 * ring need not say whose its keys are; then whose it was is not looked at.
 * Throws SIGNATURE_INVALID, KEY_UNKNOWN, KEY_REVOKED, KEY_EXPIRED or RECEIPT_INVALID.
 */
export function verifyReceipt(
  receipt: string | Uint8Array,
  keys: KeyRing,
  expected: ExpectedReceipt = {},
): ExecutionReceipt {
  return verifyReceiptFor(expected, toJsonBytes(receipt), keys).receipt;
}

/**
 * The same with a key that may have to be fetched first, and whose owner must be known: what a client builds on must
 * be an executor's own word, and must not contradict itself. Throws KEY_CHANGED, too.
 */
export async function verifyFromSource(
  texts: ReceiptTexts,
  keys: KeySource,
  expected: ExpectedReceipt,
  signal?: AbortSignal,
): Promise<VerifiedReceipt> {
  const ring = await keys.ringFor(texts, signal);
  const genuine = verifyReceiptFor({ ...expected, success: 'consistent' }, texts, ring);
  const { receipt, keyId, signer } = genuine;
  const key = ring.find(keyId);
  if (key?.owner === undefined || signer === undefined) throw ownerless(keyId);
  if (signer.role !== 'executor') return { receipt, signer, chained: undefined };
  await keys.accept?.({ ...key, owner: key.owner });
  const { chained } = genuine;
  const chainedJson = chained === receipt ? texts.receiptJson : texts.originalJson;
  if (keys.seen !== undefined)
    await checkSeen(keys.seen, key.owner, chained, chainedJson ?? new Uint8Array());
  return { receipt, signer, chained };
}

function ownerless(keyId: string): CscError {
  const what = `whose key ${JSON.stringify(keyId)} is, is not said, and only an executor's receipt counts`;
  return new CscError(
    'RECEIPT_INVALID',
    `${what}: give it an "owner" in the key ring, as csc executor keys --export does`,
  );
}

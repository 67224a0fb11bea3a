import { type KeyRing, verifyArtifact } from '@csc-fleet/common/crypto';
import { isJsonObject, type JsonObject, parseStrictJson } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { type ExecutionReceipt, maxReceiptBytes, receiptFromJson } from '@csc-fleet/common/receipt';
import { toJsonBytes } from '../calls/request.ts';
import type { KeySource } from './keys.ts';
import { checkSigner, type ReceiptSigner } from './signer-rules.ts';
import { checkSubject, checkSuccess, type ExpectedReceipt } from './subject-rules.ts';

export type { ExpectedReceipt } from './subject-rules.ts';

/** A receipt that counts, and who vouches for it. */
export interface VerifiedReceipt {
  readonly receipt: ExecutionReceipt;
  readonly signer: ReceiptSigner;
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
  const json = readReceiptJson(receipt);
  const { key_id } = verifyArtifact(json, keys);
  const value = orThrow(receiptFromJson(json), 'RECEIPT_INVALID', 'the receipt');
  const owner = keys.find(key_id)?.owner;
  if (owner !== undefined) checkSigner(value, owner);
  checkSubject(value, expected);
  return value;
}

/**
 * The same with a key that may have to be fetched first, and whose owner must be known: what a client builds on must
 * be an executor's own word. Throws KEY_CHANGED, too.
 */
export async function verifyFromSource(
  receipt: Uint8Array,
  keys: KeySource,
  expected: ExpectedReceipt,
  signal?: AbortSignal,
): Promise<VerifiedReceipt> {
  const keyId = keyIdOf(readReceiptJson(receipt));
  const ring = await keys.ringFor(keyId, signal);
  const value = verifyReceipt(receipt, ring, expected);
  const key = ring.find(keyId);
  if (key?.owner === undefined) throw ownerless(keyId);
  const signer = checkSigner(value, key.owner);
  checkSuccess(value);
  if (signer.role === 'executor') await keys.accept?.({ ...key, owner: key.owner });
  return { receipt: value, signer };
}

function ownerless(keyId: string): CscError {
  const what = `whose key ${JSON.stringify(keyId)} is, is not said, and only an executor's receipt counts`;
  return new CscError(
    'RECEIPT_INVALID',
    `${what}: give it an "owner" in the key ring, as csc executor keys --export does`,
  );
}

function readReceiptJson(receipt: string | Uint8Array): JsonObject {
  const parsed = parseStrictJson(toJsonBytes(receipt), { maxBytes: maxReceiptBytes });
  const json = orThrow(parsed, 'RECEIPT_INVALID', 'the receipt');
  if (isJsonObject(json)) return json;
  throw new CscError('RECEIPT_INVALID', 'the receipt is not a JSON object');
}

// Only a hint for which key to fetch: whether the signature is that key's is decided afterwards.
function keyIdOf(receipt: JsonObject): string {
  const signature = receipt['signature'];
  const keyId = isJsonObject(signature) ? signature['key_id'] : undefined;
  return typeof keyId === 'string' ? keyId : '';
}

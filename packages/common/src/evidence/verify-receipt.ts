import type { KeyRing } from '../crypto/index.ts';
import { artifactBytes, isJsonObject, type JsonObject, parseStrictJson } from '../encoding/index.ts';
import { CscError, orThrow } from '../errors/index.ts';
import { type ExecutionReceipt, receiptFromJson } from '../receipt/index.ts';
import { verifyArtifact } from './artifact.ts';
import { checkSigner, type ReceiptSigner } from './signer-rules.ts';
import { checkSubject, type ExpectedReceipt } from './subject-rules.ts';

/** A receipt that counts, and whose key it was signed with. */
export interface GenuineReceipt {
  readonly receipt: ExecutionReceipt;
  readonly keyId: string;
  /** Undefined where the key ring does not say whose key it is: never where an executor was expected. */
  readonly signer: ReceiptSigner | undefined;
}

/**
 * Verifies a receipt: its signature over the text as it came, then its form, then whether whose key it is may say what it
 * says, then that it is what was expected. The one way in which gates, clients and `csc verify-receipt` look at receipts.
 * Throws SIGNATURE_INVALID, KEY_UNKNOWN, KEY_REVOKED, KEY_EXPIRED or RECEIPT_INVALID.
 */
export function verifyReceiptFor(
  expected: ExpectedReceipt,
  receiptJson: Uint8Array,
  keys: KeyRing,
): GenuineReceipt {
  const json = readReceiptJson(receiptJson);
  const { key_id: keyId } = verifyArtifact(json, keys);
  const receipt = orThrow(receiptFromJson(json), 'RECEIPT_INVALID', 'the receipt');
  const owner = keys.find(keyId)?.owner;
  if (expected.executor !== undefined && owner !== expected.executor) throw notSignedBy(expected.executor);
  const signer = owner === undefined ? undefined : checkSigner(receipt, owner);
  checkSubject(receipt, expected);
  return { receipt, keyId, signer };
}

/**
 * The id of the key that a receipt says it is signed with, for whoever has to fetch that key first; empty where it says
 * none. Whether it is signed with it is not looked at. Throws RECEIPT_INVALID.
 */
export function claimedKeyId(receiptJson: Uint8Array): string {
  const { signature } = readReceiptJson(receiptJson);
  const keyId = isJsonObject(signature) ? signature['key_id'] : undefined;
  return typeof keyId === 'string' ? keyId : '';
}

function readReceiptJson(receiptJson: Uint8Array): JsonObject {
  const parsed = parseStrictJson(receiptJson, { maxBytes: artifactBytes.receipt });
  const json = orThrow(parsed, 'RECEIPT_INVALID', 'the receipt');
  if (isJsonObject(json)) return json;
  throw new CscError('RECEIPT_INVALID', 'the receipt is not a JSON object');
}

function notSignedBy(executor: string): CscError {
  return new CscError('RECEIPT_INVALID', `the receipt is not signed with a key of ${executor}`);
}

import type { KeyRing } from '../crypto/index.ts';
import { canonicalJson, isJsonObject } from '../encoding/index.ts';
import { CscError, orThrow } from '../errors/index.ts';
import {
  type ExecutionReceipt,
  projectReceipt,
  type ReceiptV01,
  type ReceiptV02,
  receiptFromJson,
} from '../receipt/index.ts';
import { verifyArtifact } from './artifact.ts';
import { readReceiptJson } from './receipt-json.ts';
import { checkSigner, checkSignersDomain, type ReceiptSigner } from './signer-rules.ts';
import { checkSubject, type ExpectedReceipt } from './subject-rules.ts';

/** A receipt that counts, and whose key it was signed with. */
export interface GenuineReceipt {
  readonly receipt: ExecutionReceipt;
  readonly keyId: string;
  /** Undefined where the key ring does not say whose key it is: never where an executor was expected. */
  readonly signer: ReceiptSigner | undefined;
  /** Who the key ring says that this is. */
  readonly owner: string | undefined;
  /** The v0.2 form of it, which an executor's chain has: itself, or its original. Undefined for a v0.1 without one. */
  readonly chained: ReceiptV02 | undefined;
}

/** The two forms of one receipt, as they come. */
export interface ReceiptTexts {
  readonly receiptJson: Uint8Array;
  /** The v0.2 receipt that a v0.1 one is a projection of. Absent or empty: there is none. */
  readonly originalJson?: Uint8Array | undefined;
}

/**
 * Verifies a receipt: its signature over the text as it came, then its form, then whether whose key it is may say what it
 * says, then that it is what was expected. Where a v0.1 receipt has its original beside it, all of that is asked of the
 * original as well, and the receipt must be its projection. The one way in which gates, clients and `csc verify-receipt`
 * look at receipts.
 * Throws SIGNATURE_INVALID, KEY_UNKNOWN, KEY_REVOKED, KEY_EXPIRED or RECEIPT_INVALID.
 */
export function verifyReceiptFor(
  expected: ExpectedReceipt,
  texts: ReceiptTexts | Uint8Array,
  keys: KeyRing,
): GenuineReceipt {
  const { receiptJson, originalJson } = texts instanceof Uint8Array ? { receiptJson: texts } : texts;
  const { receipt, ...by } = verifyOne(expected, receiptJson, keys);
  const hasOriginal = originalJson !== undefined && originalJson.length > 0;
  if (receipt.receipt_version === 'csc.receipt.v0.2') {
    if (hasOriginal) throw invalid('the receipt is a v0.2 one, and comes with another as its original');
    return { receipt, ...by, chained: receipt };
  }
  if (!hasOriginal) return { receipt, ...by, chained: undefined };
  const original = verifyOne({ ...expected, receiptVersion: 'csc.receipt.v0.2' }, originalJson, keys);
  return { receipt, ...by, chained: checkProjection(receipt, original.receipt) };
}

function verifyOne(
  expected: ExpectedReceipt,
  receiptJson: Uint8Array,
  keys: KeyRing,
): Omit<GenuineReceipt, 'chained'> {
  const json = readReceiptJson(receiptJson);
  const { key_id: keyId } = verifyArtifact(json, keys);
  const receipt = orThrow(receiptFromJson(json), 'RECEIPT_INVALID', 'the receipt');
  const owner = keys.find(keyId)?.owner;
  if (expected.executor !== undefined && owner !== expected.executor) throw notSignedBy(expected.executor);
  if (expected.trustDomains !== undefined) checkSignersDomain(owner, expected.trustDomains);
  const signer = owner === undefined ? undefined : checkSigner(receipt, owner);
  if (expected.host !== undefined && signer?.role === 'executor' && signer.name !== expected.host)
    throw notSignedBy(`${expected.host}, which alone the submission names, but of ${signer.name}`);
  checkSubject(receipt, expected);
  return { receipt, keyId, signer, owner };
}

// Otherwise an executor could say one thing to whoever asks for v0.1, and have another in its chain.
function checkProjection(receipt: ReceiptV01, original: ExecutionReceipt): ReceiptV02 {
  if (original.receipt_version === 'csc.receipt.v0.2') {
    const { signature: _signature, ...unsigned } = receipt;
    if (canonicalJson(unsigned) === canonicalJson(projectReceipt(original))) return original;
  }
  throw invalid('the v0.1 receipt is not a projection of the v0.2 one that comes with it');
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

function notSignedBy(executor: string): CscError {
  return invalid(`the receipt is not signed with a key of ${executor}`);
}

function invalid(message: string): CscError {
  return new CscError('RECEIPT_INVALID', message);
}

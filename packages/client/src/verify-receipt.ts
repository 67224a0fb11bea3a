import { type KeyRing, verifyArtifact } from '@csc-fleet/common/crypto';
import { isJsonObject, type JsonObject, parseStrictJson } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { type ExecutionReceipt, receiptFromJson } from '@csc-fleet/common/receipt';
import type { KeySource } from './keys.ts';
import { toJsonBytes } from './request.ts';

const maxReceiptBytes = 8 << 20;

/** What a receipt must be about, beside being genuine. Absent members are not compared. */
export interface ExpectedReceipt {
  readonly contractSha256?: string | undefined;
  readonly executionId?: string | undefined;
}

/**
 * Verifies a receipt's signature, then its form, then that it is about what was expected.
 * Throws SIGNATURE_INVALID, KEY_UNKNOWN, KEY_REVOKED, KEY_EXPIRED or RECEIPT_INVALID.
 */
export function verifyReceipt(
  receipt: string | Uint8Array,
  keys: KeyRing,
  expected: ExpectedReceipt = {},
): ExecutionReceipt {
  return verifyReceiptJson(readReceiptJson(receipt), keys, expected);
}

/** The same with keys that may have to be fetched first. */
export async function verifyFromSource(
  receipt: Uint8Array,
  keys: KeySource,
  expected: ExpectedReceipt,
  signal?: AbortSignal,
): Promise<ExecutionReceipt> {
  const json = readReceiptJson(receipt);
  return verifyReceiptJson(json, await keys.ringFor(keyIdOf(json), signal), expected);
}

function verifyReceiptJson(json: JsonObject, keys: KeyRing, expected: ExpectedReceipt): ExecutionReceipt {
  const signature = verifyArtifact(json, keys);
  const value = orThrow(receiptFromJson(json), 'RECEIPT_INVALID', 'the receipt');
  verifySigner(value, keys.find(signature.key_id)?.owner);
  verifySubject(value, expected);
  return value;
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

// One executor must not be able to speak for another. A key ring need not say whose its keys are.
function verifySigner(receipt: ExecutionReceipt, owner: string | undefined): void {
  const executorId = 'executor_id' in receipt ? receipt.executor_id : undefined;
  if (owner === undefined || executorId === undefined || owner.endsWith(`/executor/${executorId}`)) return;
  throw new CscError(
    'RECEIPT_INVALID',
    `the receipt is of executor ${executorId}, and ${owner} has signed it`,
  );
}

// A genuine receipt of something else proves nothing about this execution.
function verifySubject(receipt: ExecutionReceipt, expected: ExpectedReceipt): void {
  if (expected.contractSha256 !== undefined && receipt.contract_sha256 !== expected.contractSha256) {
    throw new CscError('RECEIPT_INVALID', 'the receipt is for another contract');
  }
  if (expected.executionId !== undefined && receipt.execution_id !== expected.executionId) {
    throw new CscError('RECEIPT_INVALID', 'the receipt is for another execution');
  }
}

import { signArtifact } from '@csc-fleet/common/crypto';
import { canonicalBytes, type JsonObject } from '@csc-fleet/common/encoding';
import type { Seal } from './signing.ts';

/**
 * A receipt of what never ran, which the gate has signed with a key that ends with this process: signed again with the
 * key that was asked for, and saying what the gate cannot know.
 */
export function resignBlocked(
  receiptJson: Uint8Array,
  known: { readonly executionMode: string; readonly error: string },
  { signer }: Seal,
  now: Date,
): Buffer {
  const receipt = toObject(receiptJson);
  const { executionMode: execution_mode, error } = known;
  const whole = { ...receipt, execution_mode, error, status: 'blocked', signing_key_id: signer.keyId };
  return canonicalBytes(signArtifact(whole, signer, now) as unknown as JsonObject);
}

/** The receipt as it is written: without the signature and the key's id where they mean nothing to anybody. */
export function toWritten(receiptJson: Uint8Array, { keepSignature }: Seal): Uint8Array {
  if (keepSignature) return receiptJson;
  const { signature: _signature, signing_key_id: _keyId, ...rest } = toObject(receiptJson);
  return canonicalBytes(rest);
}

function toObject(receiptJson: Uint8Array): JsonObject {
  return JSON.parse(Buffer.from(receiptJson).toString('utf8')) as JsonObject;
}

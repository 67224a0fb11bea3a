import {
  canonicalBytes,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseTimestamp,
  toTimestamp,
} from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { parseBase64, toBase64 } from './base64.ts';
import { type Ed25519, signatureLength } from './ed25519.ts';
import type { KeyEntry, KeyRing } from './key-ring.ts';
import { nodeEd25519 } from './node-ed25519.ts';
import type { Signer } from './signer.ts';

/** The `signature` member of every signed artifact (protocol §5). */
export interface Signature {
  algorithm: 'ed25519';
  key_id: string;
  /** RFC 3339. */
  signed_at: string;
  /** Base64 of the 64 bytes, over the canonical JSON of the artifact without this one member. */
  signature: string;
}

/**
 * Signs an artifact; a signature that it has is replaced. The result holds exactly what was signed: null and undefined
 * members are gone. Throws ENCODING_INVALID for what canonical JSON cannot hold.
 */
export function signArtifact<T extends object>(
  artifact: T,
  signer: Signer,
  now: Date,
): T & { signature: Signature } {
  const unsigned = { algorithm: 'ed25519', key_id: signer.keyId, signed_at: toTimestamp(now) } as const;
  // The encoder refuses at run time whatever in here is not JSON.
  const payload = canonicalBytes({ ...artifact, signature: unsigned } as unknown as JsonValue);
  const signature: Signature = { ...unsigned, signature: toBase64(signer.sign(payload)) };
  return { ...(JSON.parse(payload.toString('utf8')) as T), signature };
}

/**
 * Verifies an artifact's signature over the artifact as it stands, null members included, and gives it back. The
 * caller must still check that the artifact is of the kind and version it expects: that separates the domains.
 * Throws SIGNATURE_INVALID; KEY_UNKNOWN; KEY_REVOKED, whenever it was signed; KEY_EXPIRED where `signed_at` is
 * outside of the key's validity.
 */
export function verifyArtifact(
  artifact: JsonObject,
  keys: KeyRing,
  ed25519: Ed25519 = nodeEd25519,
): Signature {
  const signature = readSignature(artifact['signature']);
  const key = keys.find(signature.key_id);
  if (key === undefined)
    throw new CscError('KEY_UNKNOWN', `no key with the id ${JSON.stringify(signature.key_id)} is trusted`);
  checkKey(key, signature.signed_at);
  const bytes = parseBase64(signature.signature);
  if (bytes?.length !== signatureLength) throw invalid('signature.signature must be base64 of 64 bytes');
  if (!ed25519.verify(signedPayload(artifact, signature), bytes, key.publicKey)) {
    throw invalid(`the signature does not fit the content and the key ${JSON.stringify(key.keyId)}`);
  }
  return signature;
}

const members: ReadonlySet<string> = new Set(['algorithm', 'key_id', 'signed_at', 'signature']);

function readSignature(value: JsonValue | undefined): Signature {
  if (value === undefined) throw invalid('there is no signature');
  if (!isJsonObject(value)) throw invalid('signature must be an object');
  const unknown = Object.keys(value).find((key) => !members.has(key));
  if (unknown !== undefined) throw invalid('signature has a member that is not known');
  const { algorithm, key_id, signed_at, signature } = value;
  if (algorithm !== 'ed25519') throw invalid('signature.algorithm must be "ed25519"');
  if (typeof key_id !== 'string' || key_id === '') throw invalid('signature.key_id must be a text');
  if (typeof signed_at !== 'string') throw invalid('signature.signed_at must be a text');
  if (typeof signature !== 'string') throw invalid('signature.signature must be a text');
  return { algorithm, key_id, signed_at, signature };
}

function checkKey(key: KeyEntry, signedAt: string): void {
  // A thief dates signatures back, so that revocation cannot depend on the date.
  if (key.revokedAt !== undefined) {
    throw new CscError(
      'KEY_REVOKED',
      `the key ${JSON.stringify(key.keyId)} was revoked at ${toTimestamp(key.revokedAt)}`,
    );
  }
  const at = parseTimestamp(signedAt);
  if (at === undefined) throw invalid('signature.signed_at must be an RFC 3339 time');
  if (
    (key.notBefore !== undefined && at < key.notBefore) ||
    (key.notAfter !== undefined && at > key.notAfter)
  ) {
    throw new CscError('KEY_EXPIRED', `the key ${JSON.stringify(key.keyId)} was not valid at ${signedAt}`);
  }
}

function signedPayload(artifact: JsonObject, signature: Signature): Uint8Array {
  const { algorithm, key_id, signed_at } = signature;
  try {
    return canonicalBytes({ ...artifact, signature: { algorithm, key_id, signed_at } }, { keepNulls: true });
  } catch (error) {
    throw invalid('the artifact has no canonical form', error);
  }
}

function invalid(problem: string, cause?: unknown): CscError {
  return new CscError(
    'SIGNATURE_INVALID',
    `the signature is not valid: ${problem}`,
    cause === undefined ? {} : { cause },
  );
}

import {
  type Ed25519,
  type KeyEntry,
  type KeyRing,
  nodeEd25519,
  parseBase64,
  type Signer,
  signatureLength,
  toBase64,
} from '../crypto/index.ts';
import type { PolicyDecision } from '../decision/index.ts';
import {
  canonicalBytes,
  canonicalJson,
  type Encodable,
  type EncodableObject,
  parseTimestamp,
  toTimestamp,
} from '../encoding/index.ts';
import { CscError, formatFaults } from '../errors/index.ts';
import type { ExecutorKeyStatement } from '../executor-key/index.ts';
import type { ChainHead, ExecutionReceipt } from '../receipt/index.ts';
import type { Resolution } from '../resolution/index.ts';
import { type Signature, signatureMember, validate } from '../schema/index.ts';
import type { Submission } from '../submission/index.ts';
import type { ExecutionTicket } from '../ticket/index.ts';

/**
 * All that is ever signed. The version in each keeps one kind from being shown as another; a decision of v0.1 has none,
 * and no other kind has its members.
 */
export type Artifact =
  | PolicyDecision
  | ExecutionTicket
  | ExecutionReceipt
  | ExecutorKeyStatement
  | ChainHead
  | Resolution
  | Submission;

/** Before it is signed. */
export type Unsigned<T extends Artifact = Artifact> = T extends Artifact ? Omit<T, 'signature'> : never;

/**
 * Signs an artifact, and gives it as it leaves: canonical JSON. A signature that it has is replaced; null and undefined
 * members are not signed, and gone. Throws ENCODING_INVALID for what canonical JSON cannot hold.
 */
export function signArtifact(artifact: Unsigned, signer: Signer, now: Date): Buffer {
  return signObject({ ...artifact }, signer, now);
}

/** The scheme of protocol §5 for any object: for what stands for an artifact, and may be none. */
export function signObject(object: EncodableObject, signer: Signer, now: Date): Buffer {
  const [before, after] = aroundSignature(object);
  const keyId = canonicalJson(signer.keyId);
  // What is signed and what leaves differ in one member, between these two.
  const begin = `{${before}"signature":{"algorithm":"ed25519","key_id":${keyId},`;
  const end = `"signed_at":"${toTimestamp(now)}"}${after}}`;
  const signature = toBase64(signer.sign(Buffer.from(begin + end, 'utf8')));
  return Buffer.from(`${begin}"signature":"${signature}",${end}`, 'utf8');
}

/** The canonical text of an object's members before and behind its `signature`, with their commas. Throws ENCODING_INVALID. */
function aroundSignature(object: EncodableObject): [before: string, after: string] {
  const { signature: _, ...rest } = object;
  const whole = canonicalJson(rest).slice(1, -1);
  // Of an ASCII name the order of UTF-16 is that of code points.
  const later = Object.keys(rest).filter((name) => name > 'signature');
  const after =
    later.length === 0
      ? ''
      : canonicalJson(Object.fromEntries(later.map((name) => [name, rest[name]]))).slice(1, -1);
  const before = after === '' ? whole : whole.slice(0, -after.length - 1);
  return [before === '' ? '' : `${before},`, after === '' ? '' : `,${after}`];
}

/**
 * Verifies an artifact's signature over the artifact as it stands, null members included, and gives it back. The
 * caller must still check that the artifact is of the kind and version it expects: that separates the domains.
 * Throws SIGNATURE_INVALID; KEY_UNKNOWN; KEY_REVOKED, whenever it was signed; KEY_EXPIRED where `signed_at` is
 * outside of the key's validity.
 */
export function verifyArtifact(
  artifact: EncodableObject,
  keys: KeyRing,
  ed25519: Ed25519 = nodeEd25519,
): Signature {
  const signature = readSignature(artifact['signature']);
  verifyBytes(signature, keys, () => signedPayload(artifact, signature), ed25519);
  return signature;
}

/**
 * Verifies a signature over these bytes, which are made once the key is known. Throws as verifyArtifact, and what making
 * them throws.
 */
export function verifyBytes(
  signature: Pick<Signature, 'key_id' | 'signed_at' | 'signature'>,
  keys: KeyRing,
  signedBytes: () => Uint8Array,
  ed25519: Ed25519 = nodeEd25519,
): void {
  const key = findKey(keys, signature);
  const bytes = parseBase64(signature.signature);
  if (bytes?.length !== signatureLength)
    throw invalidSignature('signature.signature must be base64 of 64 bytes');
  if (!ed25519.verify(signedBytes(), bytes, key.publicKey))
    throw invalidSignature(`the signature does not fit the content and the key ${JSON.stringify(key.keyId)}`);
}

/** The key that a signature names, where it may have signed at that time. Throws KEY_UNKNOWN, KEY_REVOKED, KEY_EXPIRED. */
export function findKey(
  keys: KeyRing,
  { key_id: keyId, signed_at: at }: Pick<Signature, 'key_id' | 'signed_at'>,
): KeyEntry {
  const key = keys.find(keyId);
  if (key === undefined)
    throw new CscError('KEY_UNKNOWN', `no key with the id ${JSON.stringify(keyId)} is trusted`);
  checkKey(key, at);
  return key;
}

function readSignature(value: Encodable | undefined): Signature {
  if (value === undefined) throw invalidSignature('there is no signature');
  const signature = validate(signatureMember, value);
  if (signature.ok) return signature.value;
  throw invalidSignature(`its member signature was refused:\n${formatFaults(signature.faults)}`);
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
  if (at === undefined) throw invalidSignature('signature.signed_at must be an RFC 3339 time');
  if (
    (key.notBefore !== undefined && at < key.notBefore) ||
    (key.notAfter !== undefined && at > key.notAfter)
  ) {
    throw new CscError('KEY_EXPIRED', `the key ${JSON.stringify(key.keyId)} was not valid at ${signedAt}`);
  }
}

function signedPayload(artifact: EncodableObject, signature: Signature): Uint8Array {
  const { algorithm, key_id, signed_at } = signature;
  try {
    return canonicalBytes({ ...artifact, signature: { algorithm, key_id, signed_at } }, { keepNulls: true });
  } catch (error) {
    throw invalidSignature('the artifact has no canonical form', error);
  }
}

/** Why a signature does not count, in words that go on behind a colon. */
function invalidSignature(problem: string, cause?: unknown): CscError {
  return new CscError(
    'SIGNATURE_INVALID',
    `the signature is not valid: ${problem}`,
    cause === undefined ? {} : { cause },
  );
}

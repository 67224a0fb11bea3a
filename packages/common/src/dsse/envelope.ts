import * as z from 'zod';
import { type KeyRing, nodeEd25519, parseBase64, toBase64 } from '../crypto/index.ts';
import { parseStrictJson } from '../encoding/index.ts';
import { CscError, orThrow, type Parsed } from '../errors/index.ts';
import { validate } from '../schema/index.ts';

/** What the payloads of this project are: in-toto Statements. */
export const statementMediaType = 'application/vnd.in-toto+json';

/** A DSSE envelope (secure-systems-lab/dsse v1), of which the signatures stand for the bytes of the payload. */
export interface Envelope {
  readonly payloadType: string;
  /** Base64. */
  readonly payload: string;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
}

const text = z.string();

// DSSE has consumers ignore members that they do not know. Here is nothing to be read beside what is signed.
const envelopeSchema = z.strictObject({
  payloadType: z.literal(statementMediaType),
  payload: text,
  signatures: z
    .array(z.strictObject({ keyid: text, sig: text }))
    .min(1)
    .max(8),
});

/** Bytes of an envelope's text, at most: the base64 of a statement of the longest receipt, and more. */
export const maxEnvelopeBytes = 24 * 1_048_576;

/** What is signed of a payload: PAE of dsse/protocol.md v1. It begins with neither { nor SSHSIG: no artifact passes for it. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Buffer {
  const type = Buffer.from(payloadType);
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${payloadType} ${payload.length} `), payload]);
}

/** An envelope around a payload that is signed already. */
export function toEnvelope(payload: Uint8Array, keyId: string, signature: string): Envelope {
  return {
    payloadType: statementMediaType,
    payload: toBase64(payload),
    signatures: [{ keyid: keyId, sig: signature }],
  };
}

/** Reads an envelope. Nothing of it is verified. */
export function parseEnvelope(bytes: Uint8Array): Parsed<Envelope> {
  const json = parseStrictJson(bytes, { maxBytes: maxEnvelopeBytes });
  return json.ok ? validate(envelopeSchema, json.value) : json;
}

/**
 * The payload of an envelope, and the id of the first key of this ring that has signed it. A key id is a hint, as DSSE says:
 * what counts is that its key fits. When it was signed, an envelope does not say: a key that has ended is the receipt's
 * business, one that was revoked is refused. Throws SIGNATURE_INVALID, KEY_UNKNOWN, KEY_REVOKED.
 */
export function openEnvelope(
  envelope: Envelope,
  keys: KeyRing,
): { readonly payload: Uint8Array; readonly keyId: string } {
  const payload = parseBase64(envelope.payload);
  if (payload === undefined) throw new CscError('SIGNATURE_INVALID', 'the envelope’s payload is not base64');
  const known = envelope.signatures.flatMap(({ keyid, sig }) => {
    const key = keys.find(keyid);
    return key === undefined ? [] : [{ key, sig }];
  });
  if (known.length === 0)
    throw new CscError('KEY_UNKNOWN', 'the envelope is signed with no key that is trusted');
  const signed = preAuthEncoding(envelope.payloadType, payload);
  for (const { key, sig } of known) {
    const signature = parseBase64(sig);
    if (signature === undefined || !nodeEd25519.verify(signed, signature, key.publicKey)) continue;
    if (key.revokedAt === undefined) return { payload, keyId: key.keyId };
    throw new CscError('KEY_REVOKED', `the key ${JSON.stringify(key.keyId)} was revoked`);
  }
  throw new CscError('SIGNATURE_INVALID', 'the envelope’s signature does not fit its payload');
}

/** Reads an envelope and verifies it. Throws as openEnvelope does, and SIGNATURE_INVALID for what is no envelope. */
export function openEnvelopeText(bytes: Uint8Array, keys: KeyRing): ReturnType<typeof openEnvelope> {
  return openEnvelope(orThrow(parseEnvelope(bytes), 'SIGNATURE_INVALID', 'the envelope'), keys);
}

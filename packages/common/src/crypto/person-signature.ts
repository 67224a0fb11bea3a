import { hash } from 'node:crypto';
import { parseBase64 } from './base64.ts';
import { signatureLength } from './ed25519.ts';
import { nodeEd25519 } from './node-ed25519.ts';
import { verifyP256 } from './node-p256.ts';
import { type PersonKeyKind, type PersonPublicKey, sshsigMessage } from './sshsig.ts';

/**
 * How a person signs: with a key itself, with what PROTOCOL.sshsig makes of the text, or with a security key, whose signature
 * is then followed by its flags (1 byte) and its counter (4 bytes, the most significant first).
 */
export const personAlgorithms = [
  'ed25519',
  'sshsig-ed25519',
  'sshsig-sk-ed25519',
  'sshsig-sk-ecdsa-p256',
] as const;

export type PersonAlgorithm = (typeof personAlgorithms)[number];

const kindOf: Readonly<Record<PersonAlgorithm, PersonKeyKind>> = {
  ed25519: 'ed25519',
  'sshsig-ed25519': 'ed25519',
  'sshsig-sk-ed25519': 'sk-ed25519',
  'sshsig-sk-ecdsa-p256': 'sk-ecdsa-p256',
};

/** What is to be signed, before anything is made of it. */
export interface AskedSignature {
  /** The version of the artifact. */
  readonly namespace: string;
  readonly payload: Uint8Array;
}

/** Signs with a key that a person holds: any Signer, or an SSH agent, which answers when it does. */
export interface PersonSigner {
  readonly keyId: string;
  readonly algorithm: PersonAlgorithm;
  /**
   * Of these very bytes: 64 bytes of an Ed25519 signature, or r and s of ECDSA with 32 bytes each; of a security key, its
   * flags and its counter behind them.
   * @param asked what they were made of, for what makes SSHSIG of it itself, as ssh-keygen does
   */
  sign(message: Uint8Array, asked: AskedSignature): Uint8Array | Promise<Uint8Array>;
}

/**
 * What is handed to a PersonSigner. It begins with { or with SSHSIG: one way of signing cannot pass for the other.
 * @param version of the artifact, which is the namespace of SSHSIG
 */
export function toBeSigned(algorithm: PersonAlgorithm, version: string, payload: Uint8Array): Uint8Array {
  return algorithm === 'ed25519' ? payload : sshsigMessage(version, payload);
}

/**
 * Why a signature does not fit, in words that go on behind a colon; undefined where it does.
 * @param signature base64
 * @param touch whether a security key must say that somebody touched it
 */
export function findSignatureFault(
  message: Uint8Array,
  { algorithm, signature }: { readonly algorithm: PersonAlgorithm; readonly signature: string },
  { kind, publicKey, application = '' }: PersonPublicKey,
  touch: boolean,
): string | undefined {
  if (kindOf[algorithm] !== kind) return `it is ${algorithm}, and the key is ${kind}`;
  const bytes = parseBase64(signature);
  const length = kind === 'ed25519' ? signatureLength : signatureLength + trailerLength;
  if (bytes?.length !== length) return `signature.signature must be base64 of ${length} bytes`;
  if (kind === 'ed25519') return nodeEd25519.verify(message, bytes, publicKey) ? undefined : misfit;
  const trailer = bytes.subarray(signatureLength);
  if (touch && ((trailer[0] ?? 0) & userPresent) === 0)
    return 'nobody touched the security key, which its entry asks for';
  const signed = Buffer.concat([sha256(Buffer.from(application)), trailer, sha256(message)]);
  const own = bytes.subarray(0, signatureLength);
  const fits =
    kind === 'sk-ed25519' ? nodeEd25519.verify(signed, own, publicKey) : verifyP256(signed, own, publicKey);
  return fits ? undefined : misfit;
}

// PROTOCOL.u2f of OpenSSH; the flags are those of WebAuthn.
const trailerLength = 5;
const userPresent = 0x01;
const misfit = 'the signature does not fit the content and the key';

function sha256(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}

import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { toBuffer } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { BoundedCache } from './bounded-cache.ts';
import { isAcceptableKey, isAcceptableSignature } from './canonical-points.ts';
import { type Ed25519, keyLength } from './ed25519.ts';

// Public keys that stay decoded between calls; a fleet has one an executor.
const cachedKeys = 1024;

/** Ed25519 by node:crypto (OpenSSL), for the hot path. */
export function createNodeEd25519(): Ed25519 {
  const publicKeys = new BoundedCache<KeyObject>(cachedKeys);
  return {
    name: 'node:crypto',
    publicKey: (seed) => rawPublicKey(createPublicKey(toPrivateKey(seed))),
    sign: (message, seed) => sign(null, message, toPrivateKey(seed)),
    prepare: (seed) => {
      const key = toPrivateKey(seed);
      return (message) => sign(null, message, key);
    },
    verify: (message, signature, publicKey) => {
      // OpenSSL takes keys of small order and reduces a y that is not canonical, so both are refused first.
      if (!isAcceptableKey(publicKey) || !isAcceptableSignature(signature)) return false;
      const id = Buffer.from(publicKey).toString('latin1');
      return verify(
        null,
        message,
        publicKeys.get(id, () => toPublicKey(publicKey)),
        signature,
      );
    },
  };
}

/** The implementation that everything uses unless told otherwise. */
export const nodeEd25519: Ed25519 = createNodeEd25519();

// RFC 8037 §2: how a JSON Web Key holds an Ed25519 key.
const curve = { kty: 'OKP', crv: 'Ed25519' } as const;

function toPrivateKey(seed: Uint8Array): KeyObject {
  if (seed.length !== keyLength) throw new CscError('KEY_INVALID', 'an Ed25519 seed is 32 bytes long');
  // `x` must be there, and node:crypto reckons it from `d`.
  return createPrivateKey({ key: { ...curve, d: toBase64url(seed), x: '' }, format: 'jwk' });
}

function toPublicKey(publicKey: Uint8Array): KeyObject {
  return createPublicKey({ key: { ...curve, x: toBase64url(publicKey) }, format: 'jwk' });
}

function toBase64url(bytes: Uint8Array): string {
  return toBuffer(bytes).toString('base64url');
}

/** The 32 bytes of an Ed25519 public KeyObject. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  return fromBase64url(key.export({ format: 'jwk' }).x);
}

/** The 32-byte seed of an Ed25519 private KeyObject. */
export function rawSeed(key: KeyObject): Uint8Array {
  return fromBase64url(key.export({ format: 'jwk' }).d);
}

function fromBase64url(text: string | undefined): Uint8Array {
  return Uint8Array.from(Buffer.from(text ?? '', 'base64url'));
}

/** A seed as PKCS#8 PEM. */
export function toPrivatePem(seed: Uint8Array): string {
  return toPrivateKey(seed).export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** A public key as SPKI PEM. */
export function toPublicPem(publicKey: Uint8Array): string {
  return toPublicKey(publicKey).export({ format: 'pem', type: 'spki' }).toString();
}

import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { CscError } from '../errors/index.ts';
import { BoundedCache } from './bounded-cache.ts';
import { isAcceptableKey, isAcceptableSignature } from './canonical-points.ts';
import { type Ed25519, keyLength } from './ed25519.ts';

// RFC 8410 §4 and §7: the DER before the 32 bytes of a public key and of a seed.
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * Ed25519 by node:crypto (OpenSSL), for the hot path.
 * @param cachedKeys how many public keys stay decoded between calls; a fleet has one an executor
 */
export function createNodeEd25519(cachedKeys = 1024): Ed25519 {
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

function toPrivateKey(seed: Uint8Array): KeyObject {
  if (seed.length !== keyLength) throw new CscError('KEY_INVALID', 'an Ed25519 seed is 32 bytes long');
  return createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' });
}

function toPublicKey(publicKey: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: 'der', type: 'spki' });
}

/** The 32 bytes of an Ed25519 public KeyObject. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: 'der', type: 'spki' }).subarray(-keyLength));
}

/** The 32-byte seed of an Ed25519 private KeyObject. */
export function rawSeed(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: 'der', type: 'pkcs8' }).subarray(-keyLength));
}

/** A seed as PKCS#8 PEM. */
export function toPrivatePem(seed: Uint8Array): string {
  return toPrivateKey(seed).export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** A public key as SPKI PEM. */
export function toPublicPem(publicKey: Uint8Array): string {
  return toPublicKey(publicKey).export({ format: 'pem', type: 'spki' }).toString();
}

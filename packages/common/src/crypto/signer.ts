import { CscError } from '../errors/index.ts';
import { type Ed25519, keyLength } from './ed25519.ts';
import { nodeEd25519 } from './node-ed25519.ts';

/** Holds one private key and signs with it; the seam where a key in hardware would go. */
export interface Signer {
  readonly keyId: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Receipt certificates of this key, DER in base64, the leaf first. Absent: it has none. */
  readonly certificates?: readonly string[] | undefined;
  /** A signature of 64 bytes. */
  sign(payload: Uint8Array): Uint8Array;
}

/** A Signer of a 32-byte seed, prepared once. Throws KEY_INVALID for a seed of another length or an empty key id. */
export function createSigner(seed: Uint8Array, keyId: string, ed25519: Ed25519 = nodeEd25519): Signer {
  if (seed.length !== keyLength) throw new CscError('KEY_INVALID', 'an Ed25519 seed is 32 bytes long');
  if (keyId === '') throw new CscError('KEY_INVALID', 'a key id must not be empty');
  const own = Uint8Array.from(seed);
  return { keyId, publicKey: ed25519.publicKey(own), sign: ed25519.prepare(own) };
}

/** A Signer whose key may be replaced while it is in use. Whoever signs takes id and signature in one go. */
export type ReloadableSigner = Signer & { replace(next: Signer): void };

export function createReloadableSigner(first: Signer): ReloadableSigner {
  let current = first;
  return {
    get keyId() {
      return current.keyId;
    },
    get publicKey() {
      return current.publicKey;
    },
    get certificates() {
      return current.certificates;
    },
    sign: (payload) => current.sign(payload),
    replace: (next) => {
      current = next;
    },
  };
}

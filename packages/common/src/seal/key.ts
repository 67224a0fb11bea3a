import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { faulty, type Parsed, parsed } from '../errors/index.ts';
import { sealKeyId, sealKeyLength } from './format.ts';

/** A key pair that output is sealed to. */
export interface SealKey {
  /** 32 bytes of X25519. */
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
  /** PKCS#8. */
  readonly pem: string;
}

/** Makes a new one. */
export function makeSealKey(): SealKey {
  return toSealKey(generateKeyPairSync('x25519').privateKey);
}

/** Reads one in PEM (PKCS#8), as `openssl genpkey -algorithm x25519` writes it, too. */
export function parseSealKey(pem: Uint8Array): Parsed<SealKey> {
  try {
    const key = createPrivateKey({ key: Buffer.from(pem), format: 'pem' });
    if (key.asymmetricKeyType === 'x25519') return parsed(toSealKey(key));
  } catch {
    // Its message may quote the file.
  }
  return faulty('must be a private key of X25519 in PEM: openssl genpkey -algorithm x25519');
}

function toSealKey(key: KeyObject): SealKey {
  const { d = '' } = key.export({ format: 'jwk' });
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' });
  return {
    publicKey: Uint8Array.from(Buffer.from(x, 'base64url')),
    privateKey: Uint8Array.from(Buffer.from(d, 'base64url')),
    pem: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
  };
}

/** The id of its public half, as streams name it: lower-case hex. */
export function idOfSealKey({ publicKey }: Pick<SealKey, 'publicKey'>): string {
  return sealKeyId(publicKey).toString('hex');
}

/** Whether bytes can be a public key: not of small order, with which anybody could open what is sealed (RFC 7748 §6.1). */
export function isSealPublicKey(bytes: Uint8Array): boolean {
  if (bytes.length !== sealKeyLength) return false;
  try {
    const x = Buffer.from(bytes).toString('base64url');
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
    // OpenSSL refuses a secret that is all zeros, which such a key gives with every other.
    return diffieHellman({ privateKey: generateKeyPairSync('x25519').privateKey, publicKey }).length > 0;
  } catch {
    return false;
  }
}

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { sha256Hex } from '../encoding/index.ts';
import { faulty, type Parsed, parsed } from '../errors/index.ts';
import { isAcceptableKey } from './canonical-points.ts';
import { keyLength } from './ed25519.ts';
import { nodeEd25519, rawPublicKey, rawSeed, toPrivatePem, toPublicPem } from './node-ed25519.ts';

/** The 32-byte seed in a key file: the seed itself, seed and public key (64 bytes), or PKCS#8 PEM. */
export function parsePrivateKey(bytes: Uint8Array): Parsed<Uint8Array> {
  if (bytes.length === keyLength) return parsed(Uint8Array.from(bytes));
  if (bytes.length === 2 * keyLength) return parseKeyPair(bytes);
  const pem = Buffer.from(bytes).toString('latin1');
  if (pem.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----')) {
    return faulty('is encrypted: decrypt it first, for example with openssl pkey');
  }
  if (pem.includes('-----BEGIN PUBLIC KEY-----')) return faulty('is a public key: name the private one');
  if (!pem.includes('-----BEGIN PRIVATE KEY-----')) {
    return faulty('must be a seed of 32 bytes, a seed and public key of 64 bytes, or PKCS#8 PEM');
  }
  return fromKeyObject(() => createPrivateKey({ key: pem, format: 'pem' }), rawSeed);
}

function parseKeyPair(bytes: Uint8Array): Parsed<Uint8Array> {
  const seed = Uint8Array.from(bytes.subarray(0, keyLength));
  if (Buffer.compare(nodeEd25519.publicKey(seed), bytes.subarray(keyLength)) !== 0) {
    return faulty('holds a seed and a public key that do not belong together');
  }
  return parsed(seed);
}

/** The 32 bytes of a public key in a file: those bytes themselves, or SPKI PEM. Keys of small order are refused. */
export function parsePublicKey(bytes: Uint8Array): Parsed<Uint8Array> {
  if (bytes.length === keyLength) return checkedPublicKey(Uint8Array.from(bytes));
  const pem = Buffer.from(bytes).toString('latin1');
  if (!pem.includes('-----BEGIN PUBLIC KEY-----'))
    return faulty('must be a public key of 32 bytes or SPKI PEM');
  const raw = fromKeyObject(() => createPublicKey({ key: pem, format: 'pem' }), rawPublicKey);
  return raw.ok ? checkedPublicKey(raw.value) : raw;
}

function checkedPublicKey(publicKey: Uint8Array): Parsed<Uint8Array> {
  return isAcceptableKey(publicKey)
    ? parsed(publicKey)
    : faulty('is not a canonical Ed25519 public key, or one of small order');
}

// The parser's own message may quote the file, so that none of it is passed on.
function fromKeyObject(read: () => KeyObject, toRaw: (key: KeyObject) => Uint8Array): Parsed<Uint8Array> {
  try {
    const key = read();
    if (key.asymmetricKeyType !== 'ed25519')
      return faulty(`must be an Ed25519 key, not ${key.asymmetricKeyType}`);
    return parsed(toRaw(key));
  } catch {
    return faulty('is not a PEM file that can be read');
  }
}

/** A new key, in each of its forms. */
export interface KeyPair {
  /** 32 bytes; secret. */
  seed: Uint8Array;
  /** 32 bytes. */
  publicKey: Uint8Array;
  /** PKCS#8; secret. */
  privatePem: string;
  /** SPKI. */
  publicPem: string;
}

/** Makes a key from the system's randomness. */
export function generateKeyPair(): KeyPair {
  const seed = rawSeed(generateKeyPairSync('ed25519').privateKey);
  const publicKey = nodeEd25519.publicKey(seed);
  return { seed, publicKey, privatePem: toPrivatePem(seed), publicPem: toPublicPem(publicKey) };
}

/**
 * A key id that names its owner and its key: `NAME-` and the first 16 hex digits of the public key's SHA-256. NAME is
 * the last part of `owner` where that is a URI; characters that do not suit a file name become `-`.
 */
export function defaultKeyId(owner: string, publicKey: Uint8Array): string {
  const name = (owner.split('/').at(-1) ?? '').replace(/[^A-Za-z0-9._-]+/g, '-');
  return `${name === '' ? 'key' : name}-${sha256Hex(publicKey).slice(0, 16)}`;
}

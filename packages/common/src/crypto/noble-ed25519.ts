import { getPublicKey, hash, hashes, Point, sign } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { isAcceptableKey, isAcceptableSignature } from './canonical-points.ts';
import { type Ed25519, keyLength } from './ed25519.ts';

// How the library is told which SHA-512 its synchronous functions use.
hashes.sha512 = (message) => Uint8Array.from(sha512(message));

/**
 * Ed25519 in plain JavaScript, for where there is no node:crypto, and as the second opinion that the tests hold the
 * first against. Its own `verify` multiplies by the cofactor; this one does not, as OpenSSL does not.
 */
export const nobleEd25519: Ed25519 = {
  name: '@noble/ed25519',
  publicKey: (seed) => getPublicKey(seed),
  sign: (message, seed) => sign(message, seed),
  prepare: (seed) => (message) => sign(message, seed),
  verify: (message, signature, publicKey) => {
    if (!isAcceptableKey(publicKey) || !isAcceptableSignature(signature)) return false;
    const key = decode(publicKey);
    if (key === undefined) return false;
    const r = signature.subarray(0, keyLength);
    const s = fromLittleEndian(signature.subarray(keyLength));
    const k = fromLittleEndian(hash(concat(r, publicKey, message))) % Point.CURVE().n;
    // RFC 8032 §5.1.7 without the cofactor: R = [S]B - [k]A, compared as encodings.
    const expected = Point.BASE.multiplyUnsafe(s).subtract(key.multiplyUnsafe(k)).toBytes();
    return expected.every((byte, index) => byte === r[index]);
  },
};

function decode(publicKey: Uint8Array): Point | undefined {
  try {
    return Point.fromBytes(publicKey);
  } catch {
    return undefined;
  }
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes.toReversed()) value = (value << 8n) | BigInt(byte);
  return value;
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

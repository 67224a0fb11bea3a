import { keyLength, signatureLength } from './ed25519.ts';

// All little-endian, as RFC 8032 §5.1 encodes them.
const prime = fromHex('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f');
const groupOrder = fromHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010');

/** The y of the eight points whose order divides 8, that is of both signs of x. */
const smallOrderY: ReadonlySet<string> = new Set([
  '0100000000000000000000000000000000000000000000000000000000000000', // order 1
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', // order 2
  '0000000000000000000000000000000000000000000000000000000000000000', // order 4
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', // order 8
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', // order 8
]);

/**
 * True where a 32-byte public key has y < p and is not one of the eight points of small order, under which one
 * signature fits any message.
 */
export function isAcceptableKey(publicKey: Uint8Array): boolean {
  return publicKey.length === keyLength && isAcceptablePoint(publicKey);
}

/**
 * True where a 64-byte signature has S < L and an R with y < p that is not of small order. An honest signer never makes
 * such an R; some releases of Node.js refuse it and some do not, so it is settled here.
 */
export function isAcceptableSignature(signature: Uint8Array): boolean {
  if (signature.length !== signatureLength) return false;
  return (
    isAcceptablePoint(signature.subarray(0, keyLength)) && isLess(signature.subarray(keyLength), groupOrder)
  );
}

function isAcceptablePoint(point: Uint8Array): boolean {
  const y = withoutSign(point);
  return isLess(y, prime) && !smallOrderY.has(Buffer.from(y).toString('hex'));
}

// The highest bit is the sign of x.
function withoutSign(point: Uint8Array): Uint8Array {
  const y = Uint8Array.from(point);
  y[31] = (y[31] ?? 0) & 0x7f;
  return y;
}

function isLess(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = keyLength - 1; i >= 0; i--) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

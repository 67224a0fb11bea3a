import { createPublicKey, verify } from 'node:crypto';

/**
 * ECDSA on P-256 with SHA-256, by node:crypto (OpenSSL).
 * @param signature r and s, of 32 bytes each
 * @param point uncompressed, 65 bytes: where it is not on the curve, nothing fits it
 */
export function verifyP256(message: Uint8Array, signature: Uint8Array, point: Uint8Array): boolean {
  const half = (from: number): string => Buffer.from(point.subarray(from, from + 32)).toString('base64url');
  const jwk = { kty: 'EC', crv: 'P-256', x: half(1), y: half(33) };
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    return verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature);
  } catch {
    // The point is not on the curve.
    return false;
  }
}

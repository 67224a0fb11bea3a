// In the place of common's ECDSA by node:crypto, in plain JavaScript. Nothing here is secret: time does not matter.
import { sha256 } from '@noble/hashes/sha2.js';

// SEC 2, §2.4.2 (secp256r1).
const p = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const b = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
const base: Point = [
  0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
  0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
];

type Point = readonly [x: bigint, y: bigint];

/** The same as common's: SEC 1 §4.1.4. */
export function verifyP256(message: Uint8Array, signature: Uint8Array, point: Uint8Array): boolean {
  if (signature.length !== 64 || point.length !== 65 || point[0] !== 4) return false;
  const [r, s] = [toNumber(signature.subarray(0, 32)), toNumber(signature.subarray(32))];
  const key: Point = [toNumber(point.subarray(1, 33)), toNumber(point.subarray(33))];
  if (!isOnCurve(key) || r === 0n || s === 0n || r >= n || s >= n) return false;
  const w = invert(s, n);
  const u = mod(toNumber(sha256(message)) * w, n);
  const sum = add(multiply(base, u), multiply(key, mod(r * w, n)));
  return sum !== undefined && mod(sum[0], n) === r;
}

// Of a curve whose cofactor is 1, each point has the right order.
function isOnCurve([x, y]: Point): boolean {
  return x < p && y < p && mod(y * y - (x * x * x - 3n * x + b), p) === 0n;
}

function multiply(point: Point, factor: bigint): Point | undefined {
  let sum: Point | undefined;
  let power: Point | undefined = point;
  for (let left = factor; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) sum = add(sum, power);
    power = add(power, power);
  }
  return sum;
}

// Undefined is the point at infinity.
function add(one: Point | undefined, other: Point | undefined): Point | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  const [[x1, y1], [x2, y2]] = [one, other];
  if (x1 === x2 && mod(y1 + y2, p) === 0n) return undefined;
  const slope =
    x1 === x2 ? (3n * x1 * x1 - 3n) * invert(mod(2n * y1, p), p) : (y2 - y1) * invert(mod(x2 - x1, p), p);
  const x = mod(slope * slope - x1 - x2, p);
  return [x, mod(slope * (x1 - x) - y1, p)];
}

// By Euclid's algorithm; `value` is none of 0 and multiples of the prime.
function invert(value: bigint, prime: bigint): bigint {
  let [low, high, one, other] = [value, prime, 1n, 0n];
  while (low > 1n) {
    const quotient = high / low;
    [low, high, one, other] = [high - quotient * low, low, other - quotient * one, one];
  }
  return mod(one, prime);
}

function mod(value: bigint, prime: bigint): bigint {
  const rest = value % prime;
  return rest < 0n ? rest + prime : rest;
}

function toNumber(bytes: Uint8Array): bigint {
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

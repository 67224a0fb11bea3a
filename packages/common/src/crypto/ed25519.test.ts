import { createHash } from 'node:crypto';
import { Point } from '@noble/ed25519';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Ed25519 } from './ed25519.ts';
import { nobleEd25519 } from './noble-ed25519.ts';
import { nodeEd25519 } from './node-ed25519.ts';

const L = Point.CURVE().n;
const p = Point.CURVE().p;

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

function littleEndian(value: bigint): Uint8Array {
  return hex(value.toString(16).padStart(64, '0')).reverse();
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

/** k of RFC 8032 §5.1.7, not yet reduced. */
function challenge(r: Uint8Array, a: Uint8Array, message: Uint8Array): bigint {
  const digest = createHash('sha512').update(r).update(a).update(message).digest();
  return BigInt(`0x${digest.reverse().toString('hex')}`);
}

function mod(value: bigint): bigint {
  return ((value % L) + L) % L;
}

const torsion = Point.fromHex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05');
/** The eight points of small order. */
const smallOrder = Array.from({ length: 8 }, (_, times) => torsion.multiplyUnsafe(BigInt(times)));
const identity = Point.ZERO;

/**
 * What an attacker who knows the secret scalars can make: a public key [a]B + A', a signature with R = [r]B + R', and
 * S = r + k a. `encodeA` and `encodeR` may encode a point in another way than RFC 8032 does.
 */
function forge(options: {
  a: bigint;
  r: bigint;
  plusA?: Point;
  plusR?: Point;
  message: Uint8Array;
  encodeA?: Uint8Array;
  encodeR?: Uint8Array;
}): { publicKey: Uint8Array; signature: Uint8Array; k: bigint } {
  const { a, r, plusA = identity, plusR = identity, message } = options;
  const publicKey = options.encodeA ?? Point.BASE.multiplyUnsafe(a).add(plusA).toBytes();
  const encodedR = options.encodeR ?? Point.BASE.multiplyUnsafe(r).add(plusR).toBytes();
  const k = challenge(encodedR, publicKey, message);
  return { publicKey, signature: concat(encodedR, littleEndian(mod(r + k * a))), k };
}

// RFC 8032 §7.1: secret, public, message, signature.
const vectors: readonly (readonly [string, string, string, string, string])[] = [
  [
    'TEST 1',
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    'TEST 2',
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'TEST 3',
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
  [
    'TEST SHA(abc)',
    '833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42',
    'ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf',
    'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
    'dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704',
  ],
];

const implementations: readonly (readonly [string, Ed25519])[] = [
  [nodeEd25519.name, nodeEd25519],
  [nobleEd25519.name, nobleEd25519],
];

describe.each(implementations)('Ed25519 by %s', (_, ed25519) => {
  const message = Buffer.from('what is to be run');
  const a = 0x1234567890abcdef1234567890abcdefn;
  const r = 0xfedcba0987654321fedcba0987654321n;

  it.each(vectors)('gives %s of RFC 8032', (_name, secret, publicKey, text, signature) => {
    const seed = hex(secret);
    expect(Buffer.from(ed25519.publicKey(seed)).toString('hex')).toBe(publicKey);
    expect(Buffer.from(ed25519.sign(hex(text), seed)).toString('hex')).toBe(signature);
    expect(Buffer.from(ed25519.prepare(seed)(hex(text))).toString('hex')).toBe(signature);
    expect(ed25519.verify(hex(text), hex(signature), hex(publicKey))).toBe(true);
  });

  it('takes a signature that was made by hand', () => {
    const { publicKey, signature } = forge({ a, r, message });
    expect(ed25519.verify(message, signature, publicKey)).toBe(true);
  });

  it('refuses another message, another key and a changed bit anywhere', () => {
    const { publicKey, signature } = forge({ a, r, message });
    expect(ed25519.verify(Buffer.from('something else'), signature, publicKey)).toBe(false);
    expect(ed25519.verify(message, signature, forge({ a: a + 1n, r, message }).publicKey)).toBe(false);
    for (let bit = 0; bit < 512; bit += 13) {
      const changed = Uint8Array.from(signature);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(ed25519.verify(message, changed, publicKey)).toBe(false);
    }
  });

  it('refuses what is of the wrong length', () => {
    const { publicKey, signature } = forge({ a, r, message });
    for (const length of [0, 63, 65]) {
      expect(ed25519.verify(message, concat(signature, signature).subarray(0, length), publicKey)).toBe(
        false,
      );
    }
    for (const length of [0, 31, 33]) {
      expect(ed25519.verify(message, signature, concat(publicKey, publicKey).subarray(0, length))).toBe(
        false,
      );
    }
  });

  it('refuses every key of small order, with signatures that the equation accepts', () => {
    for (const point of smallOrder) {
      let tried = 0n;
      let forged = forge({ a: 0n, r, plusA: point, message });
      // With k a multiple of 8, [k]A is the identity whatever A is.
      while (forged.k % 8n !== 0n) forged = forge({ a: 0n, r: r + ++tried, plusA: point, message });
      expect(ed25519.verify(message, forged.signature, forged.publicKey)).toBe(false);
    }
  });

  it('refuses keys of small order in encodings that are not canonical', () => {
    const encodings = [p, p + 1n].flatMap((y) => [littleEndian(y), littleEndian(y | (1n << 255n))]);
    encodings.push(littleEndian(1n | (1n << 255n)), littleEndian((p - 1n) | (1n << 255n)));
    for (const encodeA of encodings) {
      const { publicKey, signature } = forge({ a: 0n, r, message, encodeA });
      expect(ed25519.verify(message, signature, publicKey)).toBe(false);
    }
  });

  it('refuses a y of p or more', () => {
    for (let y = p; y < 1n << 255n; y++) {
      expect(ed25519.verify(message, forge({ a, r, message }).signature, littleEndian(y))).toBe(false);
    }
  });

  it('refuses bytes that are no point', () => {
    expect(() => Point.fromBytes(littleEndian(2n))).toThrow();
    expect(ed25519.verify(message, forge({ a, r, message }).signature, littleEndian(2n))).toBe(false);
  });

  it('refuses an S that is not canonical', () => {
    const { publicKey, signature } = forge({ a, r, message });
    const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`);
    for (const malleable of [s + L, s + 2n * L, s + 8n * L]) {
      const changed = concat(signature.subarray(0, 32), littleEndian(malleable));
      expect(ed25519.verify(message, changed, publicKey)).toBe(false);
    }
  });

  it('refuses an R of small order, with signatures that the equation accepts', () => {
    for (const plusR of smallOrder) {
      const { publicKey, signature } = forge({ a, r: 0n, plusR, message });
      expect(ed25519.verify(message, signature, publicKey)).toBe(false);
    }
    const encodings = [p + 1n, 1n | (1n << 255n), (p + 1n) | (1n << 255n)].map(littleEndian);
    for (const encodeR of encodings) {
      const { publicKey, signature } = forge({ a, r: 0n, message, encodeR });
      expect(ed25519.verify(message, signature, publicKey)).toBe(false);
    }
  });

  it('does not multiply by the cofactor: an R with a part of small order is refused', () => {
    for (const plusR of smallOrder.slice(1)) {
      const { publicKey, signature } = forge({ a, r, plusR, message });
      expect(ed25519.verify(message, signature, publicKey)).toBe(false);
    }
  });

  it('judges a key with a part of small order by the equation without the cofactor', () => {
    const verdicts = new Set<boolean>();
    for (let offset = 0n; offset < 40n; offset++) {
      const { publicKey, signature, k } = forge({ a, r: r + offset, plusA: torsion, message });
      // OpenSSL reduces k by L before it multiplies, which matters to the part of small order.
      const holds = (k % L) % 8n === 0n;
      expect(ed25519.verify(message, signature, publicKey)).toBe(holds);
      verdicts.add(holds);
    }
    expect(verdicts).toEqual(new Set([true, false]));
  });
});

describe('the two implementations', () => {
  const scalars = fc.bigInt({ min: 0n, max: L - 1n });
  const parts = fc.constantFrom(...smallOrder);

  it('agree on keys and signatures', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.uint8Array(), (seed, message) => {
        const signature = nodeEd25519.sign(message, seed);
        expect(Buffer.from(nobleEd25519.sign(message, seed))).toEqual(Buffer.from(signature));
        expect(nobleEd25519.verify(message, signature, nodeEd25519.publicKey(seed))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('agree on signatures made with parts of small order', () => {
    fc.assert(
      fc.property(
        scalars,
        scalars,
        parts,
        parts,
        fc.uint8Array({ maxLength: 8 }),
        (a, r, plusA, plusR, message) => {
          const { publicKey, signature } = forge({ a, r, plusA, plusR, message });
          const verdict = nodeEd25519.verify(message, signature, publicKey);
          expect(nobleEd25519.verify(message, signature, publicKey)).toBe(verdict);
        },
      ),
      { numRuns: 120 },
    );
  });

  it('agree on signatures and keys with bytes changed', () => {
    const edges = fc.constantFrom(
      ...[0n, 1n, p - 1n, p, p + 1n, L, L - 1n, (1n << 256n) - 1n].map(littleEndian),
    );
    const block = fc.oneof(edges, fc.uint8Array({ minLength: 32, maxLength: 32 }));
    const change = fc.record({
      r: fc.option(block),
      s: fc.option(block),
      a: fc.option(block),
      bit: fc.nat({ max: 767 }),
    });
    fc.assert(
      fc.property(scalars, scalars, change, (a, r, { r: newR, s: newS, a: newA, bit }) => {
        const message = Buffer.from('m');
        const { publicKey, signature } = forge({ a, r, message });
        const all = concat(
          newR ?? signature.subarray(0, 32),
          newS ?? signature.subarray(32),
          newA ?? publicKey,
        );
        if (newR === null && newS === null && newA === null)
          all[bit >> 3] = (all[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const verdict = nodeEd25519.verify(message, all.subarray(0, 64), all.subarray(64));
        expect(nobleEd25519.verify(message, all.subarray(0, 64), all.subarray(64))).toBe(verdict);
      }),
      { numRuns: 250 },
    );
  });
});

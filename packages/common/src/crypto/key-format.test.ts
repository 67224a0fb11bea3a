import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseBase64, toBase64 } from './base64.ts';
import { defaultKeyId, generateKeyPair, parsePrivateKey, parsePublicKey } from './key-format.ts';
import { nodeEd25519 } from './node-ed25519.ts';

const pair = generateKeyPair();
const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 });
const x25519 = generateKeyPairSync('x25519');
const pkcs8 = { type: 'pkcs8', format: 'pem' } as const;
const spki = { type: 'spki', format: 'pem' } as const;

describe('generateKeyPair', () => {
  it('gives the same key in each form', () => {
    expect(Buffer.from(nodeEd25519.publicKey(pair.seed))).toEqual(Buffer.from(pair.publicKey));
    expect(parsePrivateKey(Buffer.from(pair.privatePem))).toEqual({ ok: true, value: pair.seed });
    expect(parsePublicKey(Buffer.from(pair.publicPem))).toEqual({ ok: true, value: pair.publicKey });
    expect(pair.privatePem).toContain('-----BEGIN PRIVATE KEY-----');
    expect(pair.publicPem).toContain('-----BEGIN PUBLIC KEY-----');
  });

  it('gives another key each time', () => {
    expect(Buffer.from(generateKeyPair().seed)).not.toEqual(Buffer.from(pair.seed));
  });
});

describe('parsePrivateKey', () => {
  it('takes a seed, and a seed with its public key', () => {
    expect(parsePrivateKey(pair.seed)).toEqual({ ok: true, value: pair.seed });
    const both = Buffer.concat([pair.seed, pair.publicKey]);
    expect(parsePrivateKey(both)).toEqual({ ok: true, value: pair.seed });
  });

  it('gives a copy', () => {
    const bytes = Uint8Array.from(pair.seed);
    const result = parsePrivateKey(bytes);
    bytes.fill(0);
    expect(result).toEqual({ ok: true, value: pair.seed });
  });

  it.each<[string, Uint8Array | string]>([
    ['nothing', ''],
    ['a wrong length', pair.seed.subarray(1)],
    ['a seed and the public key of another', Buffer.concat([pair.seed, generateKeyPair().publicKey])],
    ['a public key', pair.publicPem],
    ['an RSA key', rsa.privateKey.export(pkcs8).toString()],
    ['an X25519 key', x25519.privateKey.export(pkcs8).toString()],
    [
      'an encrypted key',
      rsa.privateKey.export({ ...pkcs8, cipher: 'aes-128-cbc', passphrase: 'x' }).toString(),
    ],
    ['a broken PEM', pair.privatePem.replace('MC4C', 'XXXX')],
    ['base64 of a seed', toBase64(pair.seed)],
  ])('refuses %s, without a word of it', (_, bytes) => {
    const result = parsePrivateKey(Buffer.from(bytes as string));
    expect(result.ok).toBe(false);
    expect(JSON.stringify(result)).not.toContain(toBase64(pair.seed).slice(0, 8));
  });
});

describe('parsePublicKey', () => {
  it('takes 32 bytes', () => {
    expect(parsePublicKey(pair.publicKey)).toEqual({ ok: true, value: pair.publicKey });
  });

  it.each<[string, Uint8Array | string]>([
    ['a wrong length', pair.publicKey.subarray(1)],
    ['a private key', pair.privatePem],
    ['an RSA key', rsa.publicKey.export(spki).toString()],
    ['a point of small order', new Uint8Array(32)],
    ['a y that is not canonical', new Uint8Array(32).fill(0xff)],
  ])('refuses %s', (_, bytes) => {
    expect(parsePublicKey(Buffer.from(bytes as string)).ok).toBe(false);
  });
});

describe('defaultKeyId', () => {
  const key = new Uint8Array(32);

  it("is the name and 16 hex digits of the key's SHA-256", () => {
    expect(defaultKeyId('build-1', key)).toBe('build-1-66687aadf862bd77');
  });

  it('takes the last part of a URI, and nothing that does not suit a file name', () => {
    expect(defaultKeyId('spiffe://csc.local/executor/build-1', key)).toBe('build-1-66687aadf862bd77');
    expect(defaultKeyId('a b/ü ☃', key)).toBe('--66687aadf862bd77');
    expect(defaultKeyId('', key)).toBe('key-66687aadf862bd77');
  });
});

describe('parseBase64', () => {
  it('takes the one encoding of each length', () => {
    for (const length of [0, 1, 2, 3, 32, 64]) {
      const bytes = new Uint8Array(length).fill(0xfa);
      expect(parseBase64(toBase64(bytes))).toEqual(bytes);
    }
  });

  it.each(['A', 'AA', 'AA=', 'AB==', 'AAA', 'AAB=', 'AA==\n', ' AA==', 'A-_=', 'AA==AA==', '====', 'AAAA='])(
    'refuses %j',
    (text) => {
      expect(parseBase64(text)).toBeUndefined();
    },
  );
});

import { describe, expect, it } from 'vitest';
import { nobleEd25519 } from './noble-ed25519.ts';
import { nodeEd25519 } from './node-ed25519.ts';
import { createSigner } from './signer.ts';

const seed = new Uint8Array(32).fill(9);
const payload = Buffer.from('payload');

describe('createSigner', () => {
  it('signs with its key, whichever the implementation', () => {
    const signer = createSigner(seed, 'k1');
    expect(signer.keyId).toBe('k1');
    expect(nodeEd25519.verify(payload, signer.sign(payload), signer.publicKey)).toBe(true);
    const other = createSigner(seed, 'k1', nobleEd25519);
    expect(Buffer.from(other.sign(payload))).toEqual(Buffer.from(signer.sign(payload)));
  });

  it('does not follow changes of the seed that it was given', () => {
    const mine = Uint8Array.from(seed);
    const signer = createSigner(mine, 'k1');
    mine.fill(0);
    expect(nodeEd25519.verify(payload, signer.sign(payload), nodeEd25519.publicKey(seed))).toBe(true);
  });

  it('refuses a seed of another length and an empty key id', () => {
    for (const make of [() => createSigner(new Uint8Array(31), 'k'), () => createSigner(seed, '')]) {
      expect(make).toThrowError(expect.objectContaining({ code: 'KEY_INVALID' }));
    }
  });
});

import { describe, expect, it } from 'vitest';
import { sha256Hex, sha256Tagged } from './hash.ts';

const ofAbc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';

describe('sha256', () => {
  it('gives the vectors of FIPS 180-4, of texts and of bytes', () => {
    expect(sha256Hex('abc')).toBe(ofAbc);
    expect(sha256Hex(Buffer.from('xabcx').subarray(1, 4))).toBe(ofAbc);
    expect(sha256Tagged(new Uint8Array())).toBe(
      'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
  });

  it('hashes text as UTF-8', () => {
    expect(sha256Hex('é')).toBe(sha256Hex(Uint8Array.of(0xc3, 0xa9)));
  });
});

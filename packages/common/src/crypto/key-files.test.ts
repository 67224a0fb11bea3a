import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readKeyRing, readPrivateKey, readPublicKey, readSigner } from './key-files.ts';
import { generateKeyPair } from './key-format.ts';
import { toKeyRingJson } from './key-ring-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'csc-key-files-'));
afterAll(() => rmSync(dir, { recursive: true }));
const pair = generateKeyPair();

function write(name: string, content: string | Uint8Array, mode = 0o600): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

describe('key files', () => {
  it('are read in every form', () => {
    expect(readPrivateKey(write('seed', pair.seed))).toEqual(pair.seed);
    expect(readPrivateKey(write('pem', pair.privatePem, 0o400))).toEqual(pair.seed);
    expect(readSigner(join(dir, 'pem'), 'k').publicKey).toEqual(pair.publicKey);
    expect(readPublicKey(write('public', pair.publicPem, 0o644))).toEqual(pair.publicKey);
    const ring = readKeyRing(
      write('ring', toKeyRingJson([{ keyId: 'k', publicKey: pair.publicKey }]), 0o644),
    );
    expect(ring.find('k')?.publicKey).toEqual(pair.publicKey);
  });

  it.each([0o640, 0o604, 0o620, 0o610, 0o601, 0o666])(
    'are refused with the permissions %o, with the cure',
    (mode) => {
      const path = write('open', pair.seed, mode);
      expect(() => readSigner(path, 'k')).toThrowError(
        expect.objectContaining({
          code: 'KEY_INVALID',
          message: expect.stringContaining(`chmod 600 ${path}`),
        }),
      );
    },
  );

  it('are not to be hidden where they hold a public key: that is said to be one', () => {
    const path = write('public', pair.publicPem, 0o644);
    expect(() => readPrivateKey(path)).toThrowError(
      expect.objectContaining({
        code: 'KEY_INVALID',
        message: `${path} was refused:\n  is a public key: name the private one`,
      }),
    );
  });

  it('are refused where they hold no key', () => {
    for (const read of [
      () => readPrivateKey(write('x', 'x')),
      () => readPublicKey(write('x', 'x')),
      () => readKeyRing(write('x', '[]')),
    ]) {
      expect(read).toThrowError(expect.objectContaining({ code: 'KEY_INVALID' }));
    }
    expect(() => readSigner(join(dir, 'nothing'), 'k')).toThrowError(
      expect.objectContaining({ code: 'FILE_UNREADABLE' }),
    );
  });
});

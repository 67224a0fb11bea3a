import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultKeyId, generateKeyPair, nodeEd25519, readKeyRing } from '@csc-fleet/common/crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSigningKey } from './signing-key.ts';

let directory: string;
let dataDir: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-gate-key-'));
  dataDir = join(directory, 'data');
});
afterEach(() => rmSync(directory, { recursive: true }));

const published = () =>
  readKeyRing(join(dataDir, 'gate-keys.json'))
    .entries()
    .map(({ keyId }) => keyId);

describe('openSigningKey', () => {
  it('makes a key at the first start, for its owner alone, and keeps it', () => {
    const signer = openSigningKey({ dataDir, gateId: 'gate-1' });
    expect(statSync(join(dataDir, 'gate.key')).mode & 0o777).toBe(0o600);
    expect(openSigningKey({ dataDir, gateId: 'gate-1' }).publicKey).toEqual(signer.publicKey);
    expect(signer.keyId).toBe(defaultKeyId('gate-1', signer.publicKey));
    expect(readdirSync(dataDir).sort()).toEqual(['gate-keys.json', 'gate.key']);
  });

  it('clears away what was half made when a gate was killed, and nothing that another may be writing', () => {
    openSigningKey({ dataDir, gateId: 'gate-1' });
    const [old, young, other] = [
      `gate.key.${'a'.repeat(12)}.partial`,
      `gate.key.${'b'.repeat(12)}.partial`,
      'x.partial',
    ];
    for (const name of [old, young, other]) writeFileSync(join(dataDir, name), generateKeyPair().privatePem);
    const before = new Date(Date.now() - 120_000);
    for (const name of [old, other]) utimesSync(join(dataDir, name), before, before);
    openSigningKey({ dataDir, gateId: 'gate-1' });
    expect(readdirSync(dataDir).sort()).toEqual(['gate-keys.json', 'gate.key', young, other]);
  });

  it('publishes what its signatures verify with', () => {
    const signer = openSigningKey({ dataDir, gateId: 'gate-1' });
    const entry = readKeyRing(join(dataDir, 'gate-keys.json')).find(signer.keyId);
    const message = Buffer.from('message');
    expect(nodeEd25519.verify(message, signer.sign(message), entry?.publicKey ?? new Uint8Array())).toBe(
      true,
    );
  });

  it('keeps older keys in the ring when another key is used', () => {
    const first = openSigningKey({ dataDir, gateId: 'gate-1' });
    const file = join(directory, 'own.pem');
    const pair = generateKeyPair();
    writeFileSync(file, pair.privatePem, { mode: 0o600 });
    const second = openSigningKey({ dataDir, gateId: 'gate-1', signingKey: file });
    expect(Buffer.from(second.publicKey)).toEqual(Buffer.from(pair.publicKey));
    expect(published()).toEqual([first.keyId, second.keyId]);
    openSigningKey({ dataDir, gateId: 'gate-1', signingKey: file });
    expect(published()).toEqual([first.keyId, second.keyId]);
  });

  it('refuses a key that others may read, and one that is none', () => {
    const file = join(directory, 'own.pem');
    writeFileSync(file, generateKeyPair().privatePem, { mode: 0o600 });
    chmodSync(file, 0o644);
    const open = () => openSigningKey({ dataDir, gateId: 'gate-1', signingKey: file });
    expect(open).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }));
    writeFileSync(file, 'no key');
    chmodSync(file, 0o600);
    expect(open).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }));
  });

  it('makes no key in the place of one that is named and missing', () => {
    const open = () => openSigningKey({ dataDir, gateId: 'gate-1', signingKey: join(directory, 'none.pem') });
    expect(open).toThrow(expect.objectContaining({ code: 'FILE_UNREADABLE' }));
  });
});

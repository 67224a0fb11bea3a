import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createSigner, generateKeyPair, toKeyRingJson } from '@csc-fleet/common/crypto';
import type { EncodableObject } from '@csc-fleet/common/encoding';
import { signObject } from '@csc-fleet/common/evidence';
import { csc } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { describe, expect, it } from 'vitest';

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../tests/kit/cli/fixtures/${name}`, import.meta.url));

// Written by Python's json and signed by its cryptography package, as the reference runner does: nulls and non-ASCII.
const reference = fixture('reference-receipt.json');
const publicKey = fixture('reference.pub');
const keyId = 'key-prod-2026-03';

function verify(receipt: string, key = publicKey, id = keyId, more: readonly string[] = []) {
  return csc(['verify-receipt', receipt, '--public-key', key, '--key-id', id, ...more]);
}

function ownReceipt(overrides: EncodableObject = {}) {
  const pair = generateKeyPair();
  const receipt = {
    receipt_version: 'csc.receipt.v0.2',
    contract_id: 'contract-0001',
    execution_id: 'exec-1',
    contract_sha256: 'a'.repeat(64),
    status: 'blocked',
    started_at: '2026-01-01T00:00:00Z',
    ended_at: '2026-01-01T00:00:00Z',
    policy_profile: 'tests',
    commands: [],
    ended: 'refused',
    approvals: [],
    ...overrides,
  };
  return { pair, signed: signObject(receipt, createSigner(pair.seed, 'own'), new Date()) };
}

describe('csc verify-receipt', () => {
  it('takes a receipt of the reference runner', async () => {
    const { code, stdout, stderr } = await verify(reference);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^VALID — /);
  });

  it('takes a v0.2 receipt, with a PEM key and from a key ring', async () => {
    const scratch = createScratch();
    const { pair, signed } = ownReceipt();
    const receipt = scratch.write('receipt.json', signed);
    const pem = scratch.write('key.pem', pair.publicPem);
    expect((await verify(receipt, pem, 'own')).code).toBe(0);
    const ring = scratch.write('keys.json', toKeyRingJson([{ keyId: 'own', publicKey: pair.publicKey }]));
    expect((await csc(['verify-receipt', receipt, '--keys', ring])).code).toBe(0);
  });

  it('--json says who signed what', async () => {
    const { stdout } = await verify(reference, publicKey, keyId, ['--json']);
    expect(JSON.parse(stdout)).toMatchObject({ valid: true, key_id: keyId, status: 'success' });
  });

  it.each([
    [
      'a changed value',
      (text: string) => text.replace('"exit_code": 0', '"exit_code": 1'),
      'SIGNATURE_INVALID',
    ],
    [
      'a null that is gone',
      (text: string) => text.replace('  "failed_command_id": null,\n', ''),
      'SIGNATURE_INVALID',
    ],
    [
      'a changed time of signing',
      (text: string) => text.replace('05.700000', '06.700000'),
      'SIGNATURE_INVALID',
    ],
    ['no signature', (text: string) => text.replace('"signature": {', '"other": {'), 'SIGNATURE_INVALID'],
    ['a key twice', (text: string) => text.replace('{', '{"status":"failed",'), 'RECEIPT_INVALID'],
    ['no JSON', () => 'nothing', 'RECEIPT_INVALID'],
  ])('refuses %s', async (_, change, reason) => {
    const scratch = createScratch();
    const changed = scratch.write('receipt.json', change(readFileSync(reference, 'utf8')));
    const { code, stdout, stderr } = await verify(changed);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toMatch(/^INVALID — /);
    const json = await verify(changed, publicKey, keyId, ['--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({ valid: false, code: reason });
  });

  it('refuses another key, another key id, and a revoked key', async () => {
    const scratch = createScratch();
    const stranger = scratch.write('stranger.pub', Buffer.from(generateKeyPair().publicKey));
    expect((await verify(reference, stranger)).stdout).toMatch(/^INVALID/);
    expect((await verify(reference, publicKey, 'another')).stdout).toMatch(/^INVALID/);
    const entry = { keyId, publicKey: readFileSync(publicKey), revokedAt: new Date('2027-01-01') };
    const ring = scratch.write('keys.json', toKeyRingJson([entry]));
    const revoked = await csc(['verify-receipt', reference, '--keys', ring, '--json']);
    expect(revoked.code).toBe(1);
    expect(JSON.parse(revoked.stdout)).toMatchObject({ valid: false, code: 'KEY_REVOKED' });
  });

  it('refuses what another executor, a client or a gate has signed for one', async () => {
    const scratch = createScratch();
    const { pair, signed } = ownReceipt({ executor_id: 'host-1' });
    const receipt = scratch.write('receipt.json', signed);
    const codes = await Promise.all(
      ['executor/host-1', 'executor/host-2', 'client/host-1', 'gate/host-1'].map(async (owner, index) => {
        const entry = { keyId: 'own', publicKey: pair.publicKey, owner: `spiffe://csc.local/${owner}` };
        const ring = scratch.write(`keys${index}.json`, toKeyRingJson([entry]));
        return (await csc(['verify-receipt', receipt, '--keys', ring])).code;
      }),
    );
    expect(codes).toEqual([0, 1, 1, 1]);
  });

  it('refuses what is well signed and no receipt', async () => {
    const scratch = createScratch();
    const { pair, signed } = ownReceipt({ receipt_version: 'csc.ticket.v0.1' });
    const key = scratch.write('key.pub', Buffer.from(pair.publicKey));
    const { code, stdout } = await verify(scratch.write('receipt.json', signed), key, 'own');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^INVALID/);
  });

  it('ends with 1 for files that cannot be used, and 64 for a wrong command line', async () => {
    const scratch = createScratch();
    expect((await verify('/nonexistent.json')).code).toBe(1);
    const noKey = scratch.write('key', 'nonsense');
    const { code, stdout, stderr } = await verify(reference, noKey);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^ERROR — /);
    expect((await csc(['verify-receipt', reference])).code).toBe(64);
    expect((await csc(['verify-receipt', reference, '--public-key', publicKey])).code).toBe(64);
  });

  it('reads a PEM that node:crypto wrote', async () => {
    const scratch = createScratch();
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: readFileSync(publicKey).toString('base64url') };
    const pem = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    expect((await verify(reference, scratch.write('key.pem', pem))).code).toBe(0);
  });
});

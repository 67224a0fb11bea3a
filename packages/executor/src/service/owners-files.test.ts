import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSigner, toKeyRingJson } from '@csc-fleet/common/crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readOwnersGateKeys, readOwnersPolicies } from './owners-files.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-owners-'));
  cpSync(join(import.meta.dirname, '../../../../policies'), join(directory, 'policies'), { recursive: true });
});
afterEach(() => rmSync(directory, { recursive: true }));

it.each(['', 'inspect.yaml', 'inspect.samples.yaml'])(
  'takes no policies that everybody can change: %j',
  (name) => {
    const policies = join(directory, 'policies');
    expect(readOwnersPolicies(policies).all().length).toBeGreaterThan(0);
    chmodSync(join(policies, name), 0o777);
    expect(() => readOwnersPolicies(policies)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining(`chmod o-w ${join(policies, name)}`),
      }),
    );
  },
);

it('takes no gate keys that everybody can change', () => {
  const path = join(directory, 'gate-keys.json');
  const { keyId, publicKey } = createSigner(Buffer.alloc(32, 1), 'gate');
  writeFileSync(path, toKeyRingJson([{ keyId, publicKey }]));
  expect(readOwnersGateKeys(path).entries()).toHaveLength(1);
  chmodSync(path, 0o666);
  expect(() => readOwnersGateKeys(path)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});

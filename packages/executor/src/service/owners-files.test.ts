import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSigner, toKeyRingJson } from '@csc-fleet/common/crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readOwnersGateKeys, readOwnersPolicies, readPinnedRoot } from './owners-files.ts';

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

it.each([
  ['the file', 'etc/csc/root.json', 0o666],
  ['its folder', 'etc/csc', 0o777],
  ['a folder above that', 'etc', 0o777],
  ['the folder that a link leads to', 'kept', 0o777],
])('takes no pinned root that others can put another in the place of: %s', (_, open, mode) => {
  mkdirSync(join(directory, 'etc/csc'), { recursive: true });
  mkdirSync(join(directory, 'kept'));
  const [path, kept] = [join(directory, 'etc/csc/root.json'), join(directory, 'kept/root.json')];
  writeFileSync(kept, '{}');
  if (open === 'kept') symlinkSync(kept, path);
  else writeFileSync(path, '{}');
  expect(readPinnedRoot(path)).toHaveLength(2);
  chmodSync(join(directory, open), mode);
  expect(() => readPinnedRoot(path)).toThrow(
    expect.objectContaining({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`chmod go-w ${join(directory, open)}`),
    }),
  );
  // Nobody replaces there what is not their own, as in /tmp.
  if (open !== 'etc') return;
  chmodSync(join(directory, open), 0o1777);
  expect(readPinnedRoot(path)).toHaveLength(2);
});

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair } from '@csc-fleet/common/crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { checkOpenKeys } from './check-config.ts';
import { readExecutorConfig } from './config.ts';
import { findOpenKeys } from './open-keys.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-open-keys-'));
  chmodSync(directory, 0o755);
  for (const name of ['pki', 'state', 'policy-repository', 'policy-repository/keys'])
    mkdirSync(join(directory, name), { mode: 0o755 });
});
afterEach(() => rmSync(directory, { recursive: true }));

function write(name: string, text = generateKeyPair().privatePem, mode = 0o644): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function find(ceiling: object = {}): string[] {
  const config = {
    gate: { address: 'localhost:1' },
    tls: { ca: 'ca', cert: 'cert', key: 'pki/executor.key' },
    trusted_gate_keys: 'keys.json',
    policies: 'policies',
    state_dir: 'state',
    ceiling,
    ...(process.getuid?.() === 0 ? { run_as: { uid: 64_123, gid: 64_123 } } : {}),
  };
  const path = write('executor.yaml', JSON.stringify(config));
  return findOpenKeys(path, readExecutorConfig(path));
}

it('names keys of others around a config that jobs could read, and those alone', () => {
  const open = [write('pki/ca.key'), write('policy-repository/keys/owner.key')];
  for (const name of ['pki/executor.key', 'state/receipt.key']) write(name);
  write('pki/public.key', '-----BEGIN PUBLIC KEY-----\n');
  write('pki/closed.key', generateKeyPair().privatePem, 0o000);
  expect(find()).toEqual(open);
  expect(find({ path_roots: ['/workspace'] })).toEqual([]);
  expect(find({ path_roots: [join(directory, 'pki')] })).toEqual(open.slice(0, 1));
  chmodSync(join(directory, 'policy-repository'), 0o000);
  expect(find()).toEqual(open.slice(0, 1));
  const path = join(directory, 'executor.yaml');
  expect(checkOpenKeys(path, readExecutorConfig(path))).toMatchObject([
    { name: 'keys', ok: true, detail: expect.stringContaining(open[0] ?? ''), remedy: expect.any(String) },
  ]);
});

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair } from '@csc-fleet/common/crypto';
import { orThrow } from '@csc-fleet/common/errors';
import { parsePolicy } from '@csc-fleet/common/policy';
import { policyMembers } from '@csc-fleet/test-kit/policy';
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
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

function find(ceiling: object = {}, policies: Parameters<typeof findOpenKeys>[2] = []): string[] {
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
  return findOpenKeys(path, readExecutorConfig(path), policies);
}

function check() {
  const path = join(directory, 'executor.yaml');
  return checkOpenKeys(path, readExecutorConfig(path));
}

it('names keys of others around a config that jobs could read, and those alone', () => {
  const open = [write('pki/ca.key'), write('policy-repository/keys/owner.key')];
  for (const name of ['pki/executor.key', 'state/receipt.key']) write(name);
  write('pki/public.key', '-----BEGIN PUBLIC KEY-----\n');
  write('pki/closed.key', generateKeyPair().privatePem, 0o000);
  expect(find()).toEqual(open);
  expect(find({ path_roots: ['/workspace'] })).toEqual([]);
  expect(find({ path_roots: [join(directory, 'pki')] })).toEqual(open.slice(0, 1));
  const reading = (...prefixes: string[]) => {
    const members = { allow_commands: ['ls'], allowed_read_prefixes: ['/workspace', ...prefixes] };
    const text = JSON.stringify(policyMembers('/workspace', members));
    return [orThrow(parsePolicy(Buffer.from(text)), 'POLICY_INVALID', 'the policy')];
  };
  expect(find({}, reading())).toEqual([]);
  expect(find({}, reading(join(directory, 'pki')))).toEqual(open.slice(0, 1));
  expect(find({ path_roots: ['/workspace'] }, reading(directory))).toEqual([]);
  mkdirSync(join(directory, 'policies'));
  writeFileSync(
    join(directory, 'policies/build.yaml'),
    JSON.stringify(policyMembers('/workspace', { allow_commands: ['ls'] })),
  );
  find();
  expect(check()).toEqual([]);
  rmSync(join(directory, 'policies'), { recursive: true });
  chmodSync(join(directory, 'policy-repository'), 0o000);
  expect(find()).toEqual(open.slice(0, 1));
  expect(check()).toMatchObject([
    { name: 'keys', ok: true, detail: expect.stringContaining(open[0] ?? ''), remedy: expect.any(String) },
  ]);
});

it('looks for them no longer than a start may take', () => {
  write('pki/ca.key');
  let now = 0;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (now += 1000));
  onTestFinished(() => clock.mockRestore());
  expect(find()).toEqual([]);
});

import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { systemClock } from '@csc-fleet/common/encoding';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { createDirectorySource, createPolicyMirror } from '@csc-fleet/common/policy-repository';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { checkStanding } from './check-config.ts';
import { readExecutorConfig } from './config.ts';
import { explainContract } from './explain.ts';
import { repositoryDirectory } from './owners.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-explain-'));
  mkdirSync(join(directory, 'policies'));
  writeFileSync(
    join(directory, 'policies', 'tests.yaml'),
    JSON.stringify({
      policy_schema_version: 'csc.policy.v0.1',
      name: 'tests',
      allow_commands: ['true'],
      allowed_effect_types: ['observe'],
      allowed_risk_classes: ['low'],
      max_timeout_sec: 60,
      network: 'deny',
      allow_secret_refs: false,
      allowed_cwd_prefixes: [directory],
      allowed_read_prefixes: [directory],
    }),
  );
});

afterEach(() => rmSync(directory, { recursive: true }));

async function explain(
  approvalMode: 'human_required' | 'dual_control_required',
  config: object = {},
  command: object = {},
) {
  const write = (name: string, content: object): string => {
    writeFileSync(join(directory, name), JSON.stringify(content));
    return join(directory, name);
  };
  const files = { tls: { ca: 'ca', cert: 'cert', key: 'key' }, trusted_gate_keys: 'keys.json' };
  const places = { gate: { address: 'localhost:1' }, policies: 'policies', state_dir: 'state' };
  const path = write('executor.yaml', { ...files, ...places, execution_mode: 'local', ...config });
  const contract = makeContract(directory, [{ argv: ['true'], ...command }], { approval_mode: approvalMode });
  const [explanation] = await explainContract(path, write('contract.json', contract));
  return explanation;
}

it('grants what one person must approve, once one has', async () => {
  expect(await explain('human_required')).toMatchObject({
    verdict: 'needs_approval',
    ceiling: [],
    granted: true,
  });
});

it('grants what two must approve only where the owner lets one do', async () => {
  expect(await explain('dual_control_required')).toMatchObject({
    verdict: 'needs_approval',
    ceiling: [{ path: 'approval_mode', message: expect.stringContaining('dual_control: one_approval') }],
    granted: false,
  });
  const lenient = await explain('dual_control_required', { dual_control: 'one_approval' });
  expect(lenient).toMatchObject({ ceiling: [], granted: true });
});

it.runIf(process.getuid?.() === 0)('notes what the job user may not write', async () => {
  chmodSync(directory, 0o755);
  const closed = join(directory, 'closed');
  mkdirSync(closed, { mode: 0o755 });
  const config = { execution_mode: 'hardened', run_as: { user: 'nobody' }, accept_rlimits_only: true };
  const policy = JSON.parse(readFileSync(join(directory, 'policies', 'tests.yaml'), 'utf8'));
  policy.allowed_write_prefixes = [directory];
  writeFileSync(join(directory, 'policies', 'tests.yaml'), JSON.stringify(policy));
  const explanation = await explain('human_required', config, { write_paths: [closed] });
  const note = expect.stringContaining(`may not write ${closed}, which belongs to uid 0`);
  expect(explanation?.commands).toMatchObject([{ writes: [closed], notes: expect.arrayContaining([note]) }]);
});

it('holds it under what the owners’ hosts.yaml says of this host', async () => {
  const owners = new TestRepository(join(directory, 'owners'));
  const policy = readFileSync(join(directory, 'policies', 'tests.yaml'), 'utf8');
  const bounds = {
    path_roots: [directory],
    network: 'deny',
    egress_hosts: [],
    secrets: [],
    inline_code: false,
  };
  let cert = 'cert';
  const known = async (labels: object, rule: object, more: object = {}) => {
    owners.publish({
      'policies/tests.yaml': policy,
      'bindings.yaml': {
        bindings_version: 'csc.bindings.v0.2',
        bindings: [{ identity: 'spiffe://csc.local/client/*', policies: ['tests'] }],
      },
      'hosts.yaml': {
        hosts_version: 'csc.hosts.v0.1',
        hosts: [{ labels: { pool: 'ci' }, ...bounds, ...rule }],
      },
      ...more,
    });
    writeFileSync(join(directory, 'root.json'), owners.root);
    await createPolicyMirror({
      directory: repositoryDirectory(join(directory, 'state')),
      pinnedRoot: owners.root,
      source: createDirectorySource(join(owners.directory, 'published')),
      clock: systemClock,
    }).refresh();
    return explain('human_required', {
      policies: undefined,
      policy_repository: { root: 'root.json', from: 'gate' },
      labels,
      tls: { ca: 'ca', cert, key: 'key' },
    });
  };
  expect(await known({ pool: 'ci' }, {})).toMatchObject({ granted: true, ceiling: [] });
  const message = (text: string) => [{ message: expect.stringContaining(text) }];
  expect(await known({ pool: 'lab' }, {})).toMatchObject({
    granted: false,
    ceiling: message('no rule for a host with its labels'),
  });
  const other = await known({ pool: 'ci' }, { policies: ['other'] });
  expect(other).toMatchObject({ granted: false, ceiling: message('keeps the profile tests off it') });
  const narrow = await known({ pool: 'ci' }, { path_roots: ['/elsewhere'] });
  expect(narrow?.granted).toBe(false);
  // Whom a certificate names, it names with its labels as well.
  await createDevelopmentPki(directory, { executors: ['build-2'] });
  cert = join(directory, 'executor-build-2.pem');
  const since = '2026-11-27T12:00:00Z';
  const revoked = { kind: 'host', id: 'build-2', since, reason: 'its disk was copied' };
  const revokedYaml = { revoked_version: 'csc.revoked.v0.1', revoked: [revoked] };
  const stopped = await known({ pool: 'ci' }, {}, { 'revoked.yaml': revokedYaml });
  expect(stopped).toMatchObject({ granted: false, ceiling: [], revoked: expect.stringContaining('copied') });
  const [check] = checkStanding(readExecutorConfig(join(directory, 'executor.yaml')));
  expect(check).toMatchObject({ name: 'owners', ok: false });
  expect(check?.detail).toContain(
    `THIS HOST IS REVOKED: the owners have revoked the host build-2 since ${since}`,
  );
  expect(check?.remedy).toContain('csc admin restore host build-2');
  await known({ pool: 'ci' }, {}, { 'revoked.yaml': { ...revokedYaml, revoked: [] } });
  expect(checkStanding(readExecutorConfig(join(directory, 'executor.yaml')))).toMatchObject([{ ok: true }]);
  rmSync(join(directory, 'root.json'));
  const [unpinned] = checkStanding(readExecutorConfig(join(directory, 'executor.yaml')));
  expect(unpinned).toMatchObject({ ok: false, detail: expect.stringContaining('there is no such file') });
  expect(unpinned?.remedy).toContain('policy_repository.root');
});

it('lets no command write what the executor believes later: its state, its program, its config, and what that names', async () => {
  chmodSync(directory, 0o755);
  mkdirSync(join(directory, 'work'));
  const policy = JSON.parse(readFileSync(join(directory, 'policies', 'tests.yaml'), 'utf8'));
  policy.allowed_write_prefixes = [directory, import.meta.dirname, process.execPath];
  writeFileSync(join(directory, 'policies', 'tests.yaml'), JSON.stringify(policy));
  const runAs = process.getuid?.() === 0 ? { run_as: { user: 'nobody' } } : {};
  const config = { execution_mode: 'hardened', ...runAs, accept_rlimits_only: true };
  const refusalOf = async (name: string) => {
    const write = { write_paths: [resolve(directory, name)] };
    return (await explain('human_required', config, write))?.commands[0]?.refused;
  };
  for (const [name, place] of [
    ['state/journal.sqlite', 'the state directory'],
    ['executor.yaml', 'the config of this executor'],
    ['policies', 'policies of'],
    ['keys.json', 'trusted_gate_keys'],
    ['key', 'tls.key'],
    ['.', 'this executor'],
    [import.meta.dirname, 'the program of'],
    [process.execPath, 'the Node.js of'],
  ] as const)
    expect(await refusalOf(name)).toContain(place);
  expect(await refusalOf('work')).toBeUndefined();
});

it('lets no command read what the executor keeps to itself: its state, its config, its keys, its secrets', async () => {
  chmodSync(directory, 0o755);
  for (const name of ['state', 'secrets']) mkdirSync(join(directory, name), { mode: 0o700 });
  for (const name of ['key', 'receipt.key', 'token', 'keys.json']) writeFileSync(join(directory, name), '');
  const runAs = process.getuid?.() === 0 ? { run_as: { user: 'nobody' } } : {};
  const config = {
    execution_mode: 'hardened',
    ...runAs,
    accept_rlimits_only: true,
    signing_key: 'receipt.key',
    secrets: { directory: 'secrets' },
  };
  const refusalOf = async (name: string, more: object = {}) => {
    const read = { read_paths: [resolve(directory, name)] };
    return (await explain('human_required', { ...config, ...more }, read))?.commands[0]?.refused;
  };
  const vault = { secrets: { vault: { address: 'https://localhost:1', token_file: 'token' } } };
  for (const [name, place, more] of [
    ['state', 'the state directory'],
    ['executor.yaml', 'the config of this executor'],
    ['key', 'tls.key'],
    ['receipt.key', 'signing_key'],
    ['secrets', 'secrets.directory'],
    ['token', 'secrets.vault.token_file', vault],
  ] as const)
    expect(await refusalOf(name, more)).toContain(place);
  for (const name of ['.', 'policies', 'keys.json']) expect(await refusalOf(name)).toBeUndefined();
});

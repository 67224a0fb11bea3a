import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createJsonLog } from '@csc-fleet/common/json-log';
import { createReloadablePolicySet } from '@csc-fleet/common/policy';
import { keepingState, resolveScopes, toRunFacts } from '@csc-fleet/sandbox/plan';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readExecutorConfig } from './config.ts';
import { requireOwnHost } from './own-host.ts';
import { readOwnersPolicies } from './owners-files.ts';
import { createReload } from './reload.ts';
import { createReloadableSecrets } from './renewables.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-own-host-'));
  chmodSync(directory, 0o755);
});
afterEach(() => rmSync(directory, { recursive: true }));

function write(name: string, content: object): string {
  writeFileSync(join(directory, name), JSON.stringify(content));
  return join(directory, name);
}

function writePolicies(name: string): void {
  mkdirSync(join(directory, name));
  const policy = {
    policy_schema_version: 'csc.policy.v0.1',
    name: 'tests',
    allow_commands: ['true'],
    network: 'deny',
    allowed_effect_types: ['observe'],
    allowed_risk_classes: ['low'],
    max_timeout_sec: 60,
    allow_secret_refs: false,
    allowed_cwd_prefixes: ['/'],
    allowed_read_prefixes: ['/'],
  };
  write(join(name, 'tests.yaml'), policy);
}

it('lets no command write what a reload has made the executor believe, nor read what that keeps secret', async () => {
  for (const name of ['policies', 'moved']) writePolicies(name);
  const configure = (changes: object = {}): string =>
    write('executor.yaml', {
      gate: { address: 'localhost:1' },
      tls: { ca: 'ca', cert: 'cert', key: 'key' },
      trusted_gate_keys: 'keys.json',
      policies: 'policies',
      state_dir: 'state',
      accept_rlimits_only: true,
      run_as: process.getuid?.() === 0 ? { user: 'nobody' } : undefined,
      ...changes,
    });
  const path = configure();
  const config = readExecutorConfig(path);
  const host = await requireOwnHost(path, config);
  const runFacts = keepingState(host.facts, config.stateDir);
  const declare = (paths: { readonly readPaths?: string[]; readonly writePaths?: string[] }): void => {
    const policy = {
      allowed_cwd_prefixes: ['/'],
      allowed_read_prefixes: ['/'],
      allowed_write_prefixes: ['/'],
    };
    const request = { cwd: '/usr', readPaths: [], writePaths: [], ...paths, policy };
    resolveScopes(request, toRunFacts(runFacts)).close();
  };
  const writes = (name: string): void => declare({ writePaths: [join(directory, name)] });
  const reads = (name: string): void => declare({ readPaths: [join(directory, name)] });
  mkdirSync(join(directory, 'secrets'), { mode: 0o700 });
  writes('moved');
  reads('secrets');
  const log = createJsonLog('error', {});
  const reload = createReload(path, config, {
    host,
    log,
    secrets: createReloadableSecrets(undefined),
    link: { renew: () => undefined },
    policies: createReloadablePolicySet(readOwnersPolicies(join(directory, 'policies'))),
    owners: { refresh: async () => undefined },
  });
  configure({ policies: 'moved', trusted_gate_keys: 'new.json', secrets: { directory: 'secrets' } });
  reload()();
  for (const [name, place] of [
    ['moved', 'policies of'],
    ['new.json', 'trusted_gate_keys of'],
    ['policies', 'policies of'],
    ['state', 'the state directory'],
  ] as const)
    expect(() => writes(name)).toThrow(place);
  expect(() => reads('secrets')).toThrow('secrets.directory of');
  reads('moved');
});

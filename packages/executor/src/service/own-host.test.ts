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
    ...{ policy_schema_version: 'csc.policy.v0.1', name: 'tests', allow_commands: ['true'], network: 'deny' },
    ...{ allowed_effect_types: ['observe'], allowed_risk_classes: ['low'], max_timeout_sec: 60 },
    ...{ allow_secret_refs: false, allowed_cwd_prefixes: ['/'], allowed_read_prefixes: ['/'] },
  };
  write(join(name, 'tests.yaml'), policy);
}

it('lets no command write what a reload has made the executor believe', async () => {
  for (const name of ['policies', 'moved']) writePolicies(name);
  const configure = (changes: object = {}): string =>
    write('executor.yaml', {
      ...{ gate: { address: 'localhost:1' }, tls: { ca: 'ca', cert: 'cert', key: 'key' } },
      ...{ trusted_gate_keys: 'keys.json', policies: 'policies', state_dir: 'state' },
      ...{ accept_rlimits_only: true, run_as: process.getuid?.() === 0 ? { user: 'nobody' } : undefined },
      ...changes,
    });
  const path = configure();
  const config = readExecutorConfig(path);
  const facts = await requireOwnHost(path, config);
  const runFacts = keepingState(facts, config.stateDir);
  const writes = (name: string): void => {
    const policy = {
      allowed_cwd_prefixes: ['/'],
      allowed_read_prefixes: ['/'],
      allowed_write_prefixes: ['/'],
    };
    const request = { cwd: '/usr', readPaths: [], writePaths: [join(directory, name)], policy };
    resolveScopes(request, toRunFacts(runFacts)).close();
  };
  writes('moved');
  const log = createJsonLog('error', {});
  const reload = createReload(path, config, {
    ...{ facts, log, secrets: createReloadableSecrets(undefined), link: { renew: () => undefined } },
    policies: createReloadablePolicySet(readOwnersPolicies(join(directory, 'policies'))),
    owners: { refresh: async () => undefined },
  });
  configure({ policies: 'moved', trusted_gate_keys: 'new.json' });
  reload()();
  for (const [name, place] of [
    ['moved', 'policies of'],
    ['new.json', 'trusted_gate_keys of'],
    ['policies', 'policies of'],
    ['state', 'the state directory'],
  ] as const)
    expect(() => writes(name)).toThrow(place);
});

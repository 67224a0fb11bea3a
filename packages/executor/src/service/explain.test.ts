import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { explainContract } from './explain.ts';

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

async function explain(approvalMode: 'human_required' | 'dual_control_required', config: object = {}) {
  const write = (name: string, content: object): string => {
    writeFileSync(join(directory, name), JSON.stringify(content));
    return join(directory, name);
  };
  const files = { tls: { ca: 'ca', cert: 'cert', key: 'key' }, trusted_gate_keys: 'keys.json' };
  const places = { gate: { address: 'localhost:1' }, policies: 'policies', state_dir: 'state' };
  const path = write('executor.yaml', { ...files, ...places, execution_mode: 'local', ...config });
  const contract = makeContract(directory, [{ argv: ['true'] }], { approval_mode: approvalMode });
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

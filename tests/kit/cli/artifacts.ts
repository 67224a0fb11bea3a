import type { CommandContract } from '@csc-fleet/common/contract';
import { makeCommand, makeContract } from '../contract.ts';

/** A contract that the policy below allows; overrides are of its one command, then of the whole. */
export function sampleContract(
  command: Partial<CommandContract['commands'][number]> = {},
  overrides: Partial<CommandContract> = {},
): CommandContract {
  const own = { ...makeCommand('/workspace', { read_paths: ['/workspace/**'] }), ...command };
  return { ...makeContract('/workspace', []), contract_id: 'contract-0001', commands: [own], ...overrides };
}

/** A policy for tests, with a workspace; as an object, which is YAML once it is JSON text. */
export function samplePolicy(workspace = '/workspace', overrides: object = {}): object {
  return {
    policy_schema_version: 'csc.policy.v0.1',
    name: 'tests',
    allow_commands: ['true', 'false', 'echo', 'sh', 'cat', 'sleep'],
    allowed_effect_types: ['observe', 'transform_local'],
    allowed_risk_classes: ['low'],
    max_timeout_sec: 60,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: [workspace],
    allowed_read_prefixes: [workspace],
    allowed_write_prefixes: [workspace],
    ...overrides,
  };
}

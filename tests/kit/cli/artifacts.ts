import type { CommandContract } from '@csc-fleet/common/contract';

/** A contract that the policy below allows; overrides are of its one command, then of the whole. */
export function sampleContract(
  command: Partial<CommandContract['commands'][number]> = {},
  overrides: Partial<CommandContract> = {},
): CommandContract {
  return {
    version: 'csc.v0.1',
    contract_id: 'contract-0001',
    intent: 'a test',
    actor: { agent_id: 'agent', session_id: 'session', initiating_user: 'user', delegation_scope: 'tests' },
    commands: [
      {
        id: 'main',
        exec: { argv: ['true'] },
        cwd: '/workspace',
        read_paths: ['/workspace/**'],
        write_paths: [],
        network: 'deny',
        env_allow: [],
        secret_refs: [],
        timeout_sec: 30,
        proposed_effect_type: 'observe',
        ...command,
      },
    ],
    risk_class: 'low',
    approval_mode: 'policy_only',
    expected_outputs: [],
    justification: 'tests',
    ...overrides,
  };
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

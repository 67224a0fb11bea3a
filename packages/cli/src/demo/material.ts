import type { Command, CommandContract } from '@csc-fleet/common/contract';

/** What a command of the demo says beside where it runs. */
export type DemoCommand = Pick<Command, 'id'> & Partial<Command>;

/** A whole contract of one command in the demo's workspace. */
export function demoContract(
  workspace: string,
  intent: string,
  command: DemoCommand,
  overrides: Partial<CommandContract> = {},
): CommandContract {
  return {
    version: 'csc.v0.1',
    contract_id: `demo-${command.id}`,
    intent,
    actor: {
      agent_id: 'demo-agent',
      session_id: 'demo',
      initiating_user: 'alice@example.org',
      delegation_scope: 'demo',
    },
    commands: [
      {
        cwd: workspace,
        read_paths: [`${workspace}/**`],
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
    justification: 'It is part of the demo.',
    ...overrides,
  };
}

/** The demo's two profiles, by name: everyday work, and changes that a person must agree to. */
export function demoPolicies(workspace: string): Readonly<Record<string, object>> {
  const common = {
    policy_schema_version: 'csc.policy.v0.1',
    allowed_risk_classes: ['low', 'medium'],
    max_timeout_sec: 60,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: [workspace],
    allowed_read_prefixes: [workspace],
    allowed_write_prefixes: [`${workspace}/out`],
  };
  return {
    build: {
      ...common,
      name: 'build',
      allow_commands: ['cat', 'grep', 'ls', 'tar', 'wc'],
      allowed_effect_types: ['observe', 'transform_local'],
    },
    release: {
      ...common,
      name: 'release',
      allow_commands: ['cp', 'ls', 'mv'],
      allowed_effect_types: ['observe', 'deploy'],
      manual_approval_for_classified_effect_types: ['deploy'],
    },
  };
}

/** Who submits in the demo. */
export const demoPrincipal = 'spiffe://csc.local/client/alice';

/** What she may use; the first where she names none. */
export const demoProfiles = ['build', 'release'];

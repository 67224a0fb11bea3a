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

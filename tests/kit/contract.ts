import { randomUUID } from 'node:crypto';
import type { CommandContract } from '@csc-fleet/common/contract';

type Command = CommandContract['commands'][number];

/** What a test wants to differ from a harmless command; exactly one of argv and pipeline. */
export interface CommandShort extends Partial<Omit<Command, 'exec' | 'pipeline'>> {
  argv?: string[];
  pipeline?: string[][];
}

export function command(short: CommandShort, cwd: string): Command {
  const { argv, pipeline, ...rest } = short;
  const form =
    pipeline === undefined
      ? { exec: { argv: argv ?? ['true'] } }
      : { pipeline: { segments: pipeline.map((segment) => ({ argv: segment })) } };
  return {
    id: 'main',
    cwd,
    read_paths: [cwd],
    write_paths: [],
    network: 'deny',
    env_allow: [],
    secret_refs: [],
    timeout_sec: 30,
    proposed_effect_type: 'observe',
    ...rest,
    ...form,
  } as Command;
}

/** A whole contract of these commands, in order. */
export function contract(
  cwd: string,
  commands: readonly CommandShort[],
  overrides: Partial<CommandContract> = {},
): CommandContract {
  return {
    version: 'csc.v0.1',
    contract_id: `test-${randomUUID()}`,
    intent: 'a test',
    actor: { agent_id: 'agent', session_id: 'session', initiating_user: 'user', delegation_scope: 'tests' },
    commands: commands.map((short) => command(short, cwd)),
    risk_class: 'low',
    approval_mode: 'policy_only',
    expected_outputs: [],
    justification: 'tests',
    ...overrides,
  };
}

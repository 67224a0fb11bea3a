import { randomUUID } from 'node:crypto';
import type { CommandContract } from '@csc-fleet/common/contract';
import { canonicalBytes, type JsonValue } from '@csc-fleet/common/encoding';

type Command = CommandContract['commands'][number];

/** What a test wants to differ from a harmless command; exactly one of argv and pipeline. */
export interface CommandShort extends Partial<Omit<Command, 'exec' | 'pipeline'>> {
  argv?: string[];
  pipeline?: string[][];
}

/** A command that does nothing but succeed, in a directory that it may read. */
export function makeCommand(cwd: string, short: CommandShort = {}): Command {
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
  };
}

/** A contract of these commands, in order; it is like no other. */
export function makeContract(
  cwd: string,
  commands: readonly CommandShort[],
  overrides: Partial<CommandContract> = {},
): CommandContract {
  return {
    version: 'csc.v0.1',
    contract_id: `test-${randomUUID()}`,
    intent: 'a test',
    actor: { agent_id: 'agent', session_id: 'session', initiating_user: 'user', delegation_scope: 'tests' },
    commands: commands.map((short) => makeCommand(cwd, short)),
    risk_class: 'low',
    approval_mode: 'policy_only',
    expected_outputs: [],
    justification: 'tests',
    ...overrides,
  };
}

/** `sh -c SCRIPT`: for what a test wants to happen inside. */
export function shell(script: string): string[] {
  return ['sh', '-c', script];
}

/** Canonical JSON of a contract or another artifact. */
export function toBytes(artifact: object): Buffer {
  return canonicalBytes(artifact as JsonValue);
}

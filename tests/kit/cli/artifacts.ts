import type { CommandContract } from '@csc-fleet/common/contract';
import { makeCommand, makeContract } from '../contract.ts';
import { policyMembers } from '../policy.ts';

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
  const allowCommands = ['true', 'false', 'echo', 'sh', 'cat', 'sleep'];
  return policyMembers(workspace, { allow_commands: allowCommands, max_timeout_sec: 60, ...overrides });
}

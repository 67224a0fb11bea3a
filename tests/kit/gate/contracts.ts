import type { ApprovalArtifact } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { makeApproval } from '../approval.ts';
import * as base from '../contract.ts';

export { toBytes } from '../contract.ts';

type Command = CommandContract['commands'][number];

/** A command that every policy of a test gate allows: `echo hello`. */
export function makeCommand(overrides: Partial<Command> = {}): Command {
  return { ...base.makeCommand('/workspace', { argv: ['echo', 'hello'], read_paths: [] }), ...overrides };
}

/** A contract that is allowed as it stands, and that is like no other. */
export function makeContract(overrides: Partial<CommandContract> = {}): CommandContract {
  return { ...base.makeContract('/workspace', []), commands: [makeCommand()], ...overrides };
}

/** One that asks for a person's consent. */
export function contractForApproval(): CommandContract {
  return makeContract({ approval_mode: 'human_required' });
}

/** One that is denied with COMMAND_NOT_ALLOWED. */
export function deniedContract(): CommandContract {
  return makeContract({ commands: [makeCommand({ exec: { argv: ['rm', '-rf', '/'] } })] });
}

/** Consent to a contract for the hour that begins now, as bytes. */
export function approve(
  contract: CommandContract,
  now: Date,
  overrides: Partial<ApprovalArtifact> = {},
): Buffer {
  return base.toBytes(makeApproval(contract, overrides, now));
}

import { randomUUID } from 'node:crypto';
import type { ApprovalArtifact } from '@csc-fleet/common/approval';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { canonicalBytes, type JsonValue, toTimestamp } from '@csc-fleet/common/encoding';

type Command = CommandContract['commands'][number];

/** A command that every policy of a test gate allows: `echo hello`. */
export function makeCommand(overrides: Partial<Command> = {}): Command {
  return {
    id: 'main',
    exec: { argv: ['echo', 'hello'] },
    cwd: '/workspace',
    read_paths: [],
    write_paths: [],
    network: 'deny',
    env_allow: [],
    secret_refs: [],
    timeout_sec: 30,
    proposed_effect_type: 'observe',
    ...overrides,
  };
}

/** A contract that is allowed as it stands, and that is like no other. */
export function makeContract(overrides: Partial<CommandContract> = {}): CommandContract {
  return {
    version: 'csc.v0.1',
    contract_id: `test-${randomUUID()}`,
    intent: 'a test',
    actor: { agent_id: 'agent', session_id: 'session', initiating_user: 'user', delegation_scope: 'tests' },
    commands: [makeCommand()],
    risk_class: 'low',
    approval_mode: 'policy_only',
    expected_outputs: [],
    justification: 'tests',
    ...overrides,
  };
}

/** One that asks for a person's consent. */
export function contractForApproval(): CommandContract {
  return makeContract({ approval_mode: 'human_required' });
}

/** One that is denied with COMMAND_NOT_ALLOWED. */
export function deniedContract(): CommandContract {
  return makeContract({ commands: [makeCommand({ exec: { argv: ['rm', '-rf', '/'] } })] });
}

const hour = 3_600_000;

/** Consent to a contract for the hour that begins now. */
export function approve(
  contract: CommandContract,
  now: Date,
  overrides: Partial<ApprovalArtifact> = {},
): Buffer {
  const approval: ApprovalArtifact = {
    approval_version: 'csc.approval.v0.1',
    approval_id: randomUUID(),
    contract_sha256: contractSha256(contract),
    approver: { identity: 'alice@example.org', method: 'cli' },
    approved_at: toTimestamp(now),
    expires_at: toTimestamp(new Date(now.getTime() + hour)),
    scope: 'single_execution',
    ...overrides,
  };
  return toBytes(approval);
}

/** Canonical JSON of a contract or another artifact. */
export function toBytes(artifact: object): Buffer {
  return canonicalBytes(artifact as JsonValue);
}

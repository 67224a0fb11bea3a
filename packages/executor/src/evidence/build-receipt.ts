import type { CountedApproval } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { sha256Hex, toTimestamp } from '@csc-fleet/common/encoding';
import { toReceiptError } from '@csc-fleet/common/evidence';
import type { TokenIdentity } from '@csc-fleet/common/oidc';
import type { StreamDigest } from '@csc-fleet/common/output-log';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { ReceiptV02, SandboxReport } from '@csc-fleet/common/receipt';
import { sealAlgorithm } from '@csc-fleet/common/seal';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import { softwareVersion } from '@csc-fleet/common/version';
import type { Captured } from '../output/index.ts';
import { type CommandOutcome, hasSucceeded } from './command-outcome.ts';

/** "local" runs commands without a sandbox: for a workstation that has none to offer. */
export type ExecutionMode = 'hardened' | 'local';

/** What a receipt is about: all that is known before anything has run. */
export interface ReceiptSubject {
  readonly executorId: string;
  readonly executionMode: ExecutionMode;
  readonly contract: CommandContract;
  /** Of its canonical form, lower-case hex, as this host has computed it: never what a ticket says of it. */
  readonly contractSha256: string;
  readonly ticket: ExecutionTicket;
  /** Absent where the ticket was refused before its policy was found. */
  readonly document?: PolicyDocument;
  readonly approvals: readonly CountedApproval[];
  /** Absent where the ticket was refused before it was asked. */
  readonly asked?: Asked;
  /** Whether it has failed without an expected output. Absent: it has not. */
  readonly requireOutputs?: boolean;
  /** Whom its output is sealed to, 32 bytes of X25519. Absent: it is not. */
  readonly sealTo?: Uint8Array | undefined;
  /** Whether its statements are signed as well. Absent: they are not. */
  readonly attest?: boolean;
  readonly startedAt: Date;
}

/** What this host knows by itself, and not from its gate, of who asked for a contract and under which rules. */
export interface Asked {
  /** That the receipt names. Absent: nobody signed for it. */
  readonly submission?: { readonly sha256: string; readonly identity?: TokenIdentity | undefined };
  /** That came with the ticket, signed or not, and is used up with it. Absent: none came. */
  readonly claimed?: { readonly principal: string; readonly nonce: string };
  /** Of the policy repository. Absent: there is none. */
  readonly policyVersion?: number;
  /** Why it would have been refused, were that not only tried out. */
  readonly warnings: readonly string[];
}

/** What came of it. */
export interface RunResult {
  /** Of the commands that ran, and last of the one that failed or could not start. */
  readonly outcomes: readonly CommandOutcome[];
  /** Over all commands, in order. */
  readonly totals: Captured<StreamDigest>;
  readonly endedAt: Date;
  readonly effects?: Pick<ReceiptV02, 'artifacts' | 'artifacts_left_out' | 'effect_summary'>;
  readonly sandbox?: SandboxReport | undefined;
  /** One a command that had a sandbox. */
  readonly profileIds: readonly string[];
}

/** The receipt of a run, unsigned. */
export function buildReceipt(subject: ReceiptSubject, result: RunResult): ReceiptV02 {
  const { outcomes, totals, sandbox } = result;
  const profileId = combineProfileIds(result.profileIds);
  return {
    ...describeSubject(subject),
    ...withOutputs(conclude(outcomes), subject, result),
    ended_at: toTimestamp(result.endedAt),
    stdout_hash: totals.stdout.sha256,
    stderr_hash: totals.stderr.sha256,
    ...(totals.stdout.truncated ? { stdout_truncated: true } : {}),
    ...(totals.stderr.truncated ? { stderr_truncated: true } : {}),
    ...(subject.sealTo === undefined ? {} : { sealed: describeSealed(subject.sealTo) }),
    ...(sandbox === undefined ? {} : { sandbox }),
    ...(profileId === undefined ? {} : { sandbox_profile_id: profileId }),
    completed_command_ids: outcomes.filter(hasSucceeded).map(({ commandId }) => commandId),
    commands: outcomes.map(toCommandResult),
    ...result.effects,
  };
}

/** The receipt of a ticket that was refused before anything ran, unsigned. */
export function buildRefusal(subject: ReceiptSubject, message: string): ReceiptV02 {
  return {
    ...describeSubject(subject),
    status: 'blocked',
    ended: 'refused',
    ended_at: toTimestamp(subject.startedAt),
    error: toReceiptError(message),
    commands: [],
  };
}

type Conclusion = Pick<ReceiptV02, 'status' | 'ended' | 'exit_code' | 'failed_command_id' | 'error'>;
type SubjectMembers = Omit<ReceiptV02, keyof Conclusion | 'ended_at' | 'commands'>;

function describeSubject({
  contract,
  contractSha256,
  ticket,
  document,
  approvals,
  ...subject
}: ReceiptSubject): SubjectMembers {
  return {
    receipt_version: 'csc.receipt.v0.2',
    contract_id: contract.contract_id,
    execution_id: ticket.execution_id,
    contract_sha256: contractSha256,
    started_at: toTimestamp(subject.startedAt),
    policy_profile: document?.policy.name ?? ticket.policy_profile,
    policy_sha256: document?.sha256 ?? ticket.policy_sha256,
    ...(document === undefined ? {} : { policy_schema_version: document.policy.policy_schema_version }),
    runner_version: softwareVersion,
    execution_mode: subject.executionMode,
    ticket_id: ticket.ticket_id,
    executor_id: subject.executorId,
    principal: ticket.principal,
    ...describeAsked(subject.asked),
    approvals: approvals.map(describeApproval),
  };
}

// With all that a verifier needs, who has the owners' approvers.yaml of then.
function describeApproval(it: CountedApproval): ReceiptV02['approvals'][number] {
  const { approval_id, approver, scope, kind, group, sha256, artifactJson } = it;
  const used = { approval_id, approver: approver.identity, scope };
  if (group === undefined || sha256 === undefined || artifactJson === undefined) return used;
  return { ...used, kind: kind === 'break_glass' ? kind : 'approval', group, sha256, artifact: artifactJson };
}

function describeAsked(
  asked: Asked | undefined,
): Pick<ReceiptV02, 'submission_sha256' | 'identity' | 'policy_version' | 'warnings'> {
  if (asked === undefined) return {};
  const { submission, policyVersion, warnings } = asked;
  return {
    ...(submission === undefined ? {} : { submission_sha256: submission.sha256 }),
    ...(submission?.identity === undefined ? {} : { identity: describeIdentity(submission.identity) }),
    ...(policyVersion === undefined ? {} : { policy_version: policyVersion }),
    ...(warnings.length === 0 ? {} : { warnings: warnings.map(toReceiptError) }),
  };
}

// By its hash alone: whoever reads a receipt must not hold the token.
function describeIdentity({
  issuer,
  subject,
  tokenSha256,
  jti,
  binding,
}: TokenIdentity): NonNullable<ReceiptV02['identity']> {
  return { issuer, subject, token_sha256: tokenSha256, ...(jti === undefined ? {} : { jti }), binding };
}

// Nothing ran and nothing could be tried: blocked. A program that was not found was tried: failed, with 127.
function conclude(outcomes: readonly CommandOutcome[]): Conclusion {
  const last = outcomes.at(-1);
  if (last === undefined) return { status: 'blocked', ended: 'refused' };
  if (hasSucceeded(last)) return { status: 'success', ended: last.ended, exit_code: 0 };
  const { commandId, ended, exitCode, error } = last;
  const text = error === undefined ? {} : { error: toReceiptError(`command ${commandId}: ${error}`) };
  const tried = outcomes.some((outcome) => outcome.startedAt !== undefined || outcome.exitCode !== undefined);
  if (!tried) return { status: 'blocked', ended, ...text };
  const code = exitCode ?? (ended === 'cancelled' ? 143 : 126);
  return { status: 'failed', ended, exit_code: code, failed_command_id: commandId, ...text };
}

// sysexits(3), EX_CANTCREAT: of the run as a whole, as no command failed.
const outputsMissing = 73;
const mostNamed = 5;

// What was to come of it did not, whatever the commands said of themselves.
function withOutputs(
  conclusion: Conclusion,
  { requireOutputs }: ReceiptSubject,
  { effects }: RunResult,
): Conclusion {
  const leftOut = effects?.artifacts_left_out;
  if (conclusion.status !== 'success' || requireOutputs !== true || leftOut === undefined) return conclusion;
  const { count, first } = leftOut;
  const named = first.slice(0, mostNamed).map(({ path, reason }) => `${path} (${reason})`);
  const more = count > named.length ? `, and ${count - named.length} more` : '';
  const error = toReceiptError(`expected outputs are required and not all there: ${named.join(', ')}${more}`);
  return { ...conclusion, status: 'failed', exit_code: outputsMissing, error };
}

function toCommandResult(outcome: CommandOutcome): ReceiptV02['commands'][number] {
  const { startedAt, endedAt, exitCode, signal, output } = outcome;
  const { stdout, stderr, terminal, recording } = output;
  return {
    command_id: outcome.commandId,
    argv_sha256: outcome.argvSha256,
    ended: outcome.ended,
    ...(startedAt === undefined ? {} : { started_at: toTimestamp(startedAt) }),
    ...(endedAt === undefined ? {} : { ended_at: toTimestamp(endedAt) }),
    ...(exitCode === undefined ? {} : { exit_code: exitCode }),
    ...(signal === undefined ? {} : { signal }),
    ...(outcome.oomKills === undefined ? {} : { oom_kills: outcome.oomKills }),
    stdout_hash: stdout.sha256,
    stdout_bytes: stdout.length,
    ...(stdout.truncated ? { stdout_truncated: true } : {}),
    stderr_hash: stderr.sha256,
    stderr_bytes: stderr.length,
    ...(stderr.truncated ? { stderr_truncated: true } : {}),
    ...(terminal === undefined ? {} : describeTerminal(terminal)),
    ...(recording === undefined ? {} : describeRecording(recording)),
  };
}

function describeSealed(publicKey: Uint8Array): NonNullable<ReceiptV02['sealed']> {
  return { algorithm: sealAlgorithm, public_key: Buffer.from(publicKey).toString('base64') };
}

/** What a receipt says of what a terminal showed. */
export function describeTerminal({ sha256, length, truncated }: StreamDigest) {
  return {
    terminal_hash: sha256,
    terminal_bytes: length,
    ...(truncated ? { terminal_truncated: true } : {}),
  };
}

/** What it says of the recording. */
export function describeRecording({ sha256, length, truncated }: StreamDigest) {
  return {
    recording_hash: sha256,
    recording_bytes: length,
    ...(truncated ? { recording_truncated: true } : {}),
  };
}

// Commands that saw different sandboxes have one id together.
function combineProfileIds(ids: readonly string[]): string | undefined {
  const distinct = [...new Set(ids)];
  return distinct.length > 1 ? sha256Hex(distinct.join('\n')) : distinct[0];
}

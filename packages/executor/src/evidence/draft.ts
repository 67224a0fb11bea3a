import { argvSha256, type Command } from '@csc-fleet/common/contract';
import {
  artifactBytes,
  canonicalJson,
  isJsonObject,
  parseStrictJson,
  toTimestamp,
} from '@csc-fleet/common/encoding';
import { toReceiptError } from '@csc-fleet/common/evidence';
import { emptyDigest } from '@csc-fleet/common/output-log';
import {
  type ReceiptV02,
  type ReceiptVersion,
  receiptFromJson,
  receiptVersions,
} from '@csc-fleet/common/receipt';
import type { LogContent } from '../output/index.ts';
import {
  buildReceipt,
  describeRecording,
  describeTerminal,
  type ReceiptSubject,
  type RunResult,
} from './build-receipt.ts';
import type { CommandOutcome } from './command-outcome.ts';

/** The receipt that an execution gets if its executor dies now, and the version in which it is wanted. */
export interface ReceiptDraft {
  readonly version: ReceiptVersion;
  /** Whether its statements are signed as well. */
  readonly attest: boolean;
  readonly receipt: ReceiptV02;
}

// The sandbox dies with its executor, by SIGKILL: 128 + 9.
const killed = 137;

/**
 * The draft as the journal keeps it.
 * @param record of the commands that are done
 * @param next the command that would be under way
 */
export function toDraft(
  subject: ReceiptSubject,
  { outcomes, sandbox, profileIds }: Pick<RunResult, 'outcomes' | 'sandbox' | 'profileIds'>,
  next: Command,
): string {
  const lost: CommandOutcome = {
    commandId: next.id,
    argvSha256: argvSha256(next),
    ended: 'executor_restart',
    exitCode: killed,
    error: 'its executor ended while it ran, or was about to; how far it came is not known',
    output: {
      stdout: emptyDigest,
      stderr: emptyDigest,
      ...(subject.ticket.grant.terminal === undefined
        ? {}
        : { terminal: emptyDigest, recording: emptyDigest }),
    },
  };
  const receipt = buildReceipt(subject, {
    outcomes: [...outcomes, lost],
    sandbox,
    profileIds,
    totals: lost.output,
    endedAt: subject.startedAt,
  });
  // Canonical, so that what is in the journal can certainly be signed.
  const { receipt_version: version } = subject.ticket.grant;
  return canonicalJson({ version, ...(subject.attest === true ? { attest: true } : {}), receipt });
}

/** The same of a run of which nothing more is known than that it was begun: what `toDraft` is kept beside. */
export function toBareDraft(subject: ReceiptSubject, first: Command): string {
  return toDraft(subject, { outcomes: [], profileIds: [] }, first);
}

/** Reads a draft of the journal; undefined where it is none, as on a disk that has lost it. */
export function readDraft(draft: string): ReceiptDraft | undefined {
  const json = parseStrictJson(Buffer.from(draft), { maxBytes: artifactBytes.receipt });
  if (!json.ok || !isJsonObject(json.value)) return undefined;
  const { version, attest, receipt = null } = json.value;
  const parsed = receiptFromJson(receipt);
  if (!parsed.ok || parsed.value.receipt_version !== 'csc.receipt.v0.2') return undefined;
  const wanted = receiptVersions.find((it) => it === version);
  return wanted === undefined
    ? undefined
    : { version: wanted, attest: attest === true, receipt: parsed.value };
}

/** A draft of which only the least is left, which says so. */
export function withLoss(draft: ReceiptDraft, what: string): ReceiptDraft {
  const { error = '' } = draft.receipt;
  return { ...draft, receipt: { ...draft.receipt, error: toReceiptError(`${what}; ${error}`) } };
}

/** A draft's receipt with what its log holds. */
export function completeDraft({ receipt }: ReceiptDraft, log: LogContent, endedAt: Date): ReceiptV02 {
  const cutOff = log.unreadable === undefined ? {} : { stdout_truncated: true, stderr_truncated: true };
  return {
    ...receipt,
    ...cutOff,
    ...describeUnreadable(receipt, log),
    ended_at: toTimestamp(endedAt),
    stdout_hash: log.digest('stdout').sha256,
    stderr_hash: log.digest('stderr').sha256,
    commands: receipt.commands.map((command) => {
      const stdout = log.digest('stdout', command.command_id);
      const stderr = log.digest('stderr', command.command_id);
      return {
        ...command,
        ...cutOff,
        stdout_hash: stdout.sha256,
        stdout_bytes: stdout.length,
        stderr_hash: stderr.sha256,
        stderr_bytes: stderr.length,
        ...(command.terminal_hash === undefined ? {} : completeTerminal(command.command_id, log)),
      };
    }),
  };
}

function completeTerminal(commandId: string, log: LogContent) {
  const cut = (stream: 'terminal' | 'recording') => ({ ...log.digest(stream, commandId), truncated: true });
  return { ...describeTerminal(cut('terminal')), ...describeRecording(cut('recording')) };
}

// Of which commands they are, nobody knows.
function describeUnreadable(
  { error = '' }: Pick<ReceiptV02, 'error'>,
  { unreadable }: LogContent,
): Pick<ReceiptV02, 'error'> {
  if (unreadable === undefined) return {};
  const what = `of its output, ${unreadable.bytes} bytes on this host cannot be read and are left out (${unreadable.why})`;
  return { error: toReceiptError(error === '' ? what : `${error}; ${what}`) };
}

import { argvSha256, type CommandContract } from '../contract/index.ts';
import { CscError } from '../errors/index.ts';
import type { ExecutionReceipt, ReceiptV02, ReceiptVersion } from '../receipt/index.ts';

/** What a verifier expects of a receipt, beside being genuine. Absent members are not compared. */
export interface ExpectedReceipt {
  readonly executionId?: string | undefined;
  readonly contractId?: string | undefined;
  readonly contractSha256?: string | undefined;
  readonly policyProfile?: string | undefined;
  /** Compared where the receipt has it: in v0.1 it may be left out. */
  readonly policySha256?: string | undefined;
  /** Compared in v0.2: a v0.1 receipt has no member for it. */
  readonly ticketId?: string | undefined;
  /**
   * Of what was submitted: the submission, and the same as it was bound to a host. Compared where the receipt names one,
   * and where a host that numbers its receipts refused: it then names whatever came, and nothing came where it does not.
   */
  readonly submissions?: readonly string[] | undefined;
  /** The one executor that the submission names: no other has an outcome of it, whatever it signs. Absent: any. */
  readonly host?: string | undefined;
  /** The one whose key must have signed it, a SPIFFE id. Absent: whoever may say what it says. */
  readonly executor?: string | undefined;
  /** Of the executor or gate whose key must have signed it. Absent: any, and of a key without an owner, nobody knows. */
  readonly trustDomains?: readonly string[] | undefined;
  /** Exactly this one: an older version says less, so that a gate must not choose it. */
  readonly receiptVersion?: ReceiptVersion | undefined;
  /** What was to run: the receipt must account for it, command by command. */
  readonly commands?: CommandContract['commands'] | undefined;
  /** A receipt that had ended before this is of an earlier run. */
  readonly endedAfter?: Date | undefined;
  /** `consistent`: a success that the receipt's own members contradict is none to build on. */
  readonly success?: 'consistent' | undefined;
}

/** A genuine receipt of something else proves nothing about this execution. Throws RECEIPT_INVALID. */
export function checkSubject(receipt: ExecutionReceipt, expected: ExpectedReceipt): void {
  const { receiptVersion, commands, endedAfter, success, submissions } = expected;
  const wrong = toMembers(receipt, expected).flatMap(([member, is, due]) =>
    due === undefined || is === due ? [] : [member],
  );
  if (wrong.length > 0) throw invalid(`the receipt is not the one expected: ${wrong.join(', ')} differ`);
  if (receiptVersion !== undefined && receipt.receipt_version !== receiptVersion) {
    throw invalid(`the receipt is a ${receipt.receipt_version}, and ${receiptVersion} was asked for`);
  }
  if (endedAfter !== undefined && new Date(receipt.ended_at) < endedAfter) {
    throw invalid(
      `the receipt is of an earlier run, which ended at ${receipt.ended_at}, or the clock here is wrong`,
    );
  }
  if (submissions !== undefined) checkSubmission(receipt, submissions);
  if (commands !== undefined) checkCommands(receipt, commands);
  if (success === 'consistent') checkSuccess(receipt);
}

// Otherwise a gate could have a host refuse the contract alone, show that, and run the submission.
function checkSubmission(receipt: ExecutionReceipt, submissions: readonly string[]): void {
  if (receipt.receipt_version === 'csc.receipt.v0.1') return;
  const { submission_sha256: is, status, executor_epoch: epoch } = receipt;
  if (is === undefined ? status !== 'blocked' || epoch === undefined : submissions.includes(is)) return;
  throw invalid(
    is === undefined
      ? 'the host refused what came without the submission'
      : 'the receipt is of another submission',
  );
}

// What a receipt of its version may leave out is compared where it can be.
function toMembers(
  receipt: ExecutionReceipt,
  expected: ExpectedReceipt,
): (readonly [member: string, is: string | undefined, due: string | undefined])[] {
  const isV02 = receipt.receipt_version === 'csc.receipt.v0.2';
  return [
    ['execution_id', receipt.execution_id, expected.executionId],
    ['contract_id', receipt.contract_id, expected.contractId],
    ['contract_sha256', receipt.contract_sha256, expected.contractSha256],
    ['policy_profile', receipt.policy_profile, expected.policyProfile],
    ['policy_sha256', receipt.policy_sha256, receipt.policy_sha256 && expected.policySha256],
    ...(isV02 ? [['ticket_id', receipt.ticket_id, expected.ticketId] as const] : []),
  ];
}

function checkSuccess(receipt: ExecutionReceipt): void {
  if (receipt.status !== 'success') return;
  const failed =
    receipt.receipt_version === 'csc.receipt.v0.2' &&
    (receipt.ended !== 'exit' || receipt.commands.some((it) => it.ended !== 'exit' || it.exit_code !== 0));
  if (receipt.exit_code === 0 && !failed) return;
  throw invalid('the receipt says success, and that a command did not end well');
}

// An executor stops at the first command that fails, so that a receipt accounts for a beginning of the contract's
// commands, in order, and after a success for all of them.
function checkCommands(receipt: ExecutionReceipt, expected: CommandContract['commands']): void {
  const isV02 = receipt.receipt_version === 'csc.receipt.v0.2';
  const ids = isV02 ? receipt.commands.map((it) => it.command_id) : receipt.completed_command_ids;
  if (ids?.some((id, index) => id !== expected[index]?.id) === true) {
    throw invalid('the receipt names commands that the contract has not, or in another order');
  }
  if (isV02) checkArguments(receipt, expected);
  const least = { success: expected.length, failed: isV02 ? 1 : 0, blocked: 0, expired: 0 }[receipt.status];
  if (ids === undefined ? !isV02 : ids.length >= least) return;
  throw invalid(`the receipt accounts for ${ids?.length ?? 0} of the contract's ${expected.length} commands`);
}

function checkArguments({ commands }: ReceiptV02, expected: CommandContract['commands']): void {
  const wrong = expected.find((command, index) => {
    const ran = commands[index];
    return ran !== undefined && ran.argv_sha256 !== argvSha256(command);
  });
  if (wrong === undefined) return;
  throw invalid(`the receipt says that command ${JSON.stringify(wrong.id)} ran with other arguments`);
}

function invalid(message: string): CscError {
  return new CscError('RECEIPT_INVALID', message);
}

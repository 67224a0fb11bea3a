import { argvSha256, type CommandContract } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import type { ExecutionReceipt, ReceiptV02, ReceiptVersion } from '@csc-fleet/common/receipt';

/** What a receipt must be about, beside being genuine. Absent members are not compared. */
export interface ExpectedReceipt {
  readonly contractSha256?: string | undefined;
  readonly executionId?: string | undefined;
  /** Exactly this one: an older version says less, so that a gate must not choose it. */
  readonly receiptVersion?: ReceiptVersion | undefined;
  /** What was to run: the receipt must account for it, command by command. */
  readonly commands?: CommandContract['commands'] | undefined;
  /** A receipt that had ended before this is of an earlier run. */
  readonly endedAfter?: Date | undefined;
}

/** A genuine receipt of something else proves nothing about this execution. Throws RECEIPT_INVALID. */
export function checkSubject(receipt: ExecutionReceipt, expected: ExpectedReceipt): void {
  const { contractSha256, executionId, receiptVersion, commands, endedAfter } = expected;
  if (contractSha256 !== undefined && receipt.contract_sha256 !== contractSha256) {
    throw invalid('the receipt is for another contract');
  }
  if (executionId !== undefined && receipt.execution_id !== executionId) {
    throw invalid('the receipt is for another execution');
  }
  if (receiptVersion !== undefined && receipt.receipt_version !== receiptVersion) {
    throw invalid(`the receipt is a ${receipt.receipt_version}, and ${receiptVersion} was asked for`);
  }
  if (endedAfter !== undefined && new Date(receipt.ended_at) < endedAfter) {
    throw invalid(
      `the receipt is of an earlier run, which ended at ${receipt.ended_at}, or the clock here is wrong`,
    );
  }
  if (commands !== undefined) checkCommands(receipt, commands);
}

/** A success that the receipt's own members contradict is none to build on. Throws RECEIPT_INVALID. */
export function checkSuccess(receipt: ExecutionReceipt): void {
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

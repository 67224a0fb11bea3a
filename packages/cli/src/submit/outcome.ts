import { type Decision, type Execution, ExecutionState } from '@csc-fleet/common/messages';
import type { ExecutionReceipt } from '@csc-fleet/common/receipt';
import { exitCodes } from '../exit-codes.ts';

/** How an execution stands at the end of a command that followed it. */
export interface Outcome {
  readonly executionId: string;
  readonly execution: Execution;
  readonly decision: Decision | undefined;
  readonly receipt: ExecutionReceipt | undefined;
  readonly receiptJson: Uint8Array;
  readonly exitCode: number | undefined;
  /** What the gate said of the end, where the receipt says otherwise. */
  readonly contradiction?: string | undefined;
}

/** The exit code of `csc submit`: the command's own where there is one, as `csc help exit-codes` says. */
export function exitCodeOfOutcome({ execution, exitCode }: Outcome): number {
  switch (execution.state) {
    case ExecutionState.SUCCEEDED:
      return exitCodes.ok;
    case ExecutionState.AWAITING_APPROVAL:
      return exitCodes.needsApproval;
    case ExecutionState.BLOCKED:
      return exitCodes.no;
    case ExecutionState.FAILED:
      return commandExitCode(exitCode, exitCodes.no);
    case ExecutionState.CANCELLED:
      return commandExitCode(exitCode, exitCodes.interrupted);
    default:
      return exitCodes.unavailable;
  }
}

// A command that failed must not look like one that worked, whatever code it ended with.
function commandExitCode(exitCode: number | undefined, otherwise: number): number {
  return exitCode === undefined || exitCode <= 0 || exitCode > 255 ? otherwise : exitCode;
}

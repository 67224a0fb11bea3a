import { CscError, exitCodes, type Refusal, readRefusal } from '@csc-fleet/common/errors';
import { toOutcome } from '@csc-fleet/common/evidence';
import { type Execution, ExecutionState } from '@csc-fleet/common/messages';
import { describeResolution, type ExecutionResolution } from './resolution.ts';
import type { VerifiedReceipt } from './verify-receipt.ts';

/** How an execution ended, by its receipt, and where the gate said otherwise. */
export interface Conclusion {
  readonly execution: Execution;
  /**
   * What a process that stands for this run may end with: the exit code of the command that failed, or of the last one,
   * where there is one, and 0 only after a success. Otherwise one of `exitCodes`: 1 for what was denied or refused, 2 for an
   * approval that is missing, 69 for a run that expired or was lost, 130 for one that was cancelled.
   * `execution.exitCode` is the command's own and nothing else.
   */
  readonly exitCode: number;
  /**
   * Why its host, or the gate once it had allowed it, let nothing run: `meaningOf(refusal.reason)` says what to do.
   * Undefined where it ran, and where the policy has denied it: that is in the decision's findings.
   */
  readonly refusal: Refusal | undefined;
  /** What the gate said, in words, where that is not what the receipt says. */
  readonly contradiction: string | undefined;
}

/**
 * What a client reports follows from the verified receipt alone; the rest of the execution is as the gate tells it.
 */
export function concludeFrom(told: Execution, verified: VerifiedReceipt): Conclusion {
  const { receipt, signer } = verified;
  const outcome = toOutcome(receipt, signer.role, told.state === ExecutionState.CANCELLED);
  const { state, exitCode, startedAt } = outcome;
  const { exitCode: _told, ...rest } = told;
  const execution: Execution = {
    ...rest,
    state,
    contractId: receipt.contract_id,
    contractSha256: receipt.contract_sha256,
    policyProfile: receipt.policy_profile,
    executorId: signer.role === 'executor' ? signer.name : '',
    startedAt: startedAt === undefined ? undefined : new Date(startedAt),
    endedAt: new Date(outcome.endedAt),
    error: outcome.error,
    ...(exitCode === undefined ? {} : { exitCode }),
  };
  const agrees = told.state === state && (told.exitCode ?? exitCode) === exitCode;
  return {
    execution,
    exitCode: toExitCode(execution),
    refusal: state === ExecutionState.BLOCKED ? readRefusal(execution.error) : undefined,
    contradiction: agrees ? undefined : describe(told),
  };
}

/**
 * An execution without a receipt: waiting for an approval, or lost with its host. Throws RECEIPT_MISSING for any other:
 * nobody but the gate says how it ended, and the gate cannot know.
 * @param resolution what the owners have signed of it. Absent: nothing
 */
export function concludeWithout(told: Execution, resolution?: ExecutionResolution): Conclusion {
  const { state } = told;
  const isOpen = state === ExecutionState.AWAITING_APPROVAL && resolution === undefined;
  if (!isOpen && state !== ExecutionState.LOST) {
    const message = `the gate says ${describe(told)}, and has no receipt that proves it: take it that nothing is known of how it ended`;
    throw new CscError('RECEIPT_MISSING', message);
  }
  const { exitCode: _told, ...rest } = told;
  const execution = resolution === undefined ? rest : { ...rest, error: describeResolution(resolution) };
  return { execution, exitCode: toExitCode(execution), refusal: undefined, contradiction: undefined };
}

/** What a process that stands for this execution may end with: see `Conclusion.exitCode`. */
export function toExitCode({ state, exitCode }: Execution): number {
  switch (state) {
    case ExecutionState.SUCCEEDED:
      return exitCodes.ok;
    case ExecutionState.AWAITING_APPROVAL:
      return exitCodes.needsApproval;
    case ExecutionState.BLOCKED:
      return exitCodes.no;
    case ExecutionState.FAILED:
      return notZero(exitCode, exitCodes.no);
    case ExecutionState.CANCELLED:
      return notZero(exitCode, exitCodes.interrupted);
    default:
      return exitCodes.unavailable;
  }
}

// A command that failed must not look like one that worked, whatever code it ended with.
function notZero(exitCode: number | undefined, otherwise: number): number {
  return exitCode === undefined || exitCode <= 0 || exitCode > 255 ? otherwise : exitCode;
}

function describe({ state, exitCode }: Execution): string {
  const name = Object.entries(ExecutionState).find(([, value]) => value === state)?.[0] ?? 'UNKNOWN';
  return `${name.toLowerCase()}${exitCode === undefined ? '' : ` with exit code ${exitCode}`}`;
}

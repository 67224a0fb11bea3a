import { CscError } from '@csc-fleet/common/errors';
import { toOutcome } from '@csc-fleet/common/evidence';
import { type Execution, ExecutionState } from '@csc-fleet/common/messages';
import type { VerifiedReceipt } from './verify-receipt.ts';

/** How an execution ended, by its receipt, and where the gate said otherwise. */
export interface Conclusion {
  readonly execution: Execution;
  /** Of the failed command, or of the last one; undefined where nothing ran. */
  readonly exitCode: number | undefined;
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
  return { execution, exitCode, contradiction: agrees ? undefined : describe(told) };
}

/**
 * An execution without a receipt: waiting for an approval, or lost with its host. Throws RECEIPT_MISSING for any other:
 * nobody but the gate says how it ended, and the gate cannot know.
 */
export function concludeWithout(told: Execution): Conclusion {
  const { state } = told;
  if (state !== ExecutionState.AWAITING_APPROVAL && state !== ExecutionState.LOST) {
    const message = `the gate says ${describe(told)}, and has no receipt that proves it: take it that nothing is known of how it ended`;
    throw new CscError('RECEIPT_MISSING', message);
  }
  const { exitCode: _told, ...execution } = told;
  return { execution, exitCode: undefined, contradiction: undefined };
}

function describe({ state, exitCode }: Execution): string {
  const name = Object.entries(ExecutionState).find(([, value]) => value === state)?.[0] ?? 'UNKNOWN';
  return `${name.toLowerCase()}${exitCode === undefined ? '' : ` with exit code ${exitCode}`}`;
}

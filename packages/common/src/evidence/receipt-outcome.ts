import { ExecutionState } from '../messages/index.ts';
import type { ExecutionReceipt } from '../receipt/index.ts';
import type { ReceiptSigner } from './signer-rules.ts';

/** How an execution ended, as a genuine receipt says. */
export interface ReceiptOutcome {
  readonly state: ExecutionState;
  readonly exitCode?: number;
  /** RFC 3339. Absent where nothing ran. */
  readonly startedAt?: string;
  /** RFC 3339. */
  readonly endedAt: string;
  /** Empty where there is none. */
  readonly error: string;
}

const states = {
  success: ExecutionState.SUCCEEDED,
  failed: ExecutionState.FAILED,
  blocked: ExecutionState.BLOCKED,
  expired: ExecutionState.EXPIRED,
} as const;

/**
 * What became of an execution, by its receipt alone.
 * @param cancelTold whether its gate says that it was cancelled: a v0.1 receipt has no word for that, and it makes no
 * success of a failure
 */
export function toOutcome(
  receipt: ExecutionReceipt,
  signer: ReceiptSigner['role'],
  cancelTold: boolean,
): ReceiptOutcome {
  const { exit_code: exitCode, started_at: startedAt, ended_at: endedAt, error = '' } = receipt;
  const ran = receipt.status === 'success' || receipt.status === 'failed';
  const state = isCancelled(receipt, signer, cancelTold) ? ExecutionState.CANCELLED : states[receipt.status];
  return {
    state,
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(ran ? { startedAt } : {}),
    endedAt,
    error,
  };
}

// What was cancelled before it started is cancelled by the gate's own receipt, and blocked by an executor's.
function isCancelled(receipt: ExecutionReceipt, signer: ReceiptSigner['role'], cancelTold: boolean): boolean {
  if (receipt.status !== 'failed' && (receipt.status !== 'blocked' || signer !== 'gate')) return false;
  return receipt.receipt_version === 'csc.receipt.v0.2' ? receipt.ended === 'cancelled' : cancelTold;
}

import { type KeyRing, verifyArtifact } from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { ExecutionState } from '@csc-fleet/common/messages';
import { type ExecutionReceipt, parseReceipt } from '@csc-fleet/common/receipt';
import type { Outcome } from '../execution/ending.ts';
import { executorName } from '../execution/executor-name.ts';
import type { ExecutionRow } from '../store/tables.ts';

/**
 * An executor's receipt, held against what the gate knows: signed with that executor's own key, for this execution,
 * contract, policy and ticket. Throws RECEIPT_INVALID, SIGNATURE_INVALID, KEY_UNKNOWN.
 */
export function verifyExecutorReceipt(json: Uint8Array, row: ExecutionRow, keys: KeyRing): ExecutionReceipt {
  const receipt = orThrow(parseReceipt(json), 'RECEIPT_INVALID', 'the receipt');
  verifyArtifact(receipt as never, keys);
  const expected: Record<string, unknown> = {
    execution_id: row.execution_id,
    contract_id: row.contract_id,
    contract_sha256: row.contract_sha256,
    policy_profile: row.policy_profile,
    receipt_version: row.receipt_version,
    ...(receipt.policy_sha256 === undefined ? {} : { policy_sha256: row.policy_sha256 }),
    ...(receipt.receipt_version === 'csc.receipt.v0.2'
      ? { ticket_id: row.ticket_id, executor_id: executorName(row.executor_id) }
      : {}),
  };
  const actual = receipt as unknown as Record<string, unknown>;
  const wrong = Object.keys(expected).filter((member) => actual[member] !== expected[member]);
  if (wrong.length === 0) return receipt;
  throw new CscError('RECEIPT_INVALID', `the receipt is not for this execution: ${wrong.join(', ')} differ`);
}

const states = {
  success: ExecutionState.SUCCEEDED,
  failed: ExecutionState.FAILED,
  blocked: ExecutionState.BLOCKED,
  expired: ExecutionState.EXPIRED,
} as const;

/** How an execution ended, as its receipt says. `cancelled` where the gate has asked for that and a v0.1 receipt cannot say it. */
export function toOutcome(receipt: ExecutionReceipt, cancelAsked: boolean): Outcome {
  const cancelled =
    receipt.status === 'failed' &&
    (receipt.receipt_version === 'csc.receipt.v0.2' ? receipt.ended === 'cancelled' : cancelAsked);
  return {
    state: cancelled ? ExecutionState.CANCELLED : states[receipt.status],
    ...(receipt.exit_code === undefined ? {} : { exitCode: receipt.exit_code }),
    ...(receipt.status === 'success' || receipt.status === 'failed' ? { startedAt: receipt.started_at } : {}),
    endedAt: receipt.ended_at,
    error: receipt.error ?? '',
  };
}

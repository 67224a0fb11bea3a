import { CscError } from '@csc-fleet/common/errors';
import { toOutcome } from '@csc-fleet/common/evidence';
import type { Receipt } from '@csc-fleet/common/messages';
import { maxLogLength, outputLimitsOf } from '../output/grant.ts';
import { type Connection, findOwn } from './connection.ts';
import { takeLateReceipt } from './take-late.ts';
import { verifyExecutorReceipt } from './verify-receipt.ts';

/**
 * Verifies and stores an executor's receipt. Resolves to true once it is on disk with all of the output, also where it
 * had been before: then it may be acknowledged; to false where the connection ended first. Throws RECEIPT_INVALID,
 * SIGNATURE_INVALID, KEY_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function takeReceipt(connection: Connection, receipt: Receipt): Promise<boolean> {
  const { gate, keys, executor } = connection;
  const { executionId, receiptJson, outputLogLength } = receipt;
  const execution = findOwn(connection, executionId);
  if (execution === undefined) return takeOther(connection, receipt);
  const verified = verifyExecutorReceipt(receiptJson, execution.row, keys.ringOf(executor.uri));
  if (outputLogLength > maxLogLength(outputLimitsOf(execution.row, gate.limits.output)))
    throw new CscError('RECEIPT_INVALID', 'it counts on more output than the ticket grants');
  if (!(await hasOutput(connection, executionId, outputLogLength))) return false;
  // Another copy of it may have been faster.
  if (gate.executions.openById(executionId) === execution) {
    const outcome = toOutcome(verified, 'executor', execution.cancelGraceMs !== undefined);
    await gate.ending.withReceipt(execution, outcome, receiptJson);
    gate.scheduler.rests.forget(executor.uri);
  }
  return true;
}

/**
 * Resolves once that much output would outlast a power cut: the executor deletes its own copy when its receipt is
 * acknowledged. False where the connection ended first: the executor will send the receipt again.
 */
async function hasOutput({ gate, gone }: Connection, executionId: string, length: number): Promise<boolean> {
  if (length === 0) return true;
  return gate.output.with(executionId, async (log) => {
    while (log.length < length && !gone.aborted) await log.grown(gone);
    if (log.length < length) return false;
    await log.sync();
    return true;
  });
}

/**
 * Of an execution that this executor does not have, or has no more. Where it never had it, nothing is kept of it: its
 * store is not for an executor to fill. Where it is the gate's own store that was lost, the host still has the receipt.
 */
async function takeOther(connection: Connection, receipt: Receipt): Promise<boolean> {
  const { gate, executor } = connection;
  const execution = await gate.executions.find(receipt.executionId);
  if (execution !== undefined) {
    const stored =
      execution.row.executor_id === executor.uri ? await gate.store.receipt(execution.id) : undefined;
    if (stored?.equals(receipt.receiptJson)) return true;
    // The gate's own may be the one that counts: it had been told that this executor did not start it.
    if (await takeLateReceipt(connection, execution, receipt)) return true;
    if (stored !== undefined) return true;
  }
  throw new CscError('RECEIPT_INVALID', 'this executor was never offered that execution');
}

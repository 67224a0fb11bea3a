import { CscError } from '@csc-fleet/common/errors';
import type { Receipt } from '@csc-fleet/common/messages';
import { type Connection, findOwn } from './connection.ts';
import { toOutcome, verifyExecutorReceipt, verifyOrphanReceipt } from './verify-receipt.ts';

/**
 * Verifies and stores an executor's receipt. Resolves to true once it is on disk with all of the output, also where it
 * had been before: then it may be acknowledged; to false where the connection ended first. Throws RECEIPT_INVALID,
 * SIGNATURE_INVALID, KEY_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function takeReceipt(connection: Connection, receipt: Receipt): Promise<boolean> {
  const { gate, keys, executor } = connection;
  const { executionId, receiptJson, outputLogLength } = receipt;
  const execution = findOwn(connection, executionId);
  if (execution === undefined) {
    await takeLate(connection, receipt);
    return true;
  }
  const verified = verifyExecutorReceipt(receiptJson, execution.row, keys.ringOf(executor.uri));
  if (!(await hasOutput(connection, executionId, outputLogLength))) return false;
  // Another copy of it may have been faster.
  if (gate.executions.openById(executionId) === execution) {
    const outcome = toOutcome(verified, execution.cancelGraceMs !== undefined);
    await gate.ending.withReceipt(execution, outcome, receiptJson);
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

// Of an execution that has ended, or that this gate has never heard of, as its store was lost: then the receipt is all
// that is left of it, and is kept.
async function takeLate(connection: Connection, { executionId, receiptJson }: Receipt): Promise<void> {
  const { gate, keys, executor } = connection;
  if ((await gate.store.receipt(executionId)) !== undefined) return;
  if ((await gate.executions.find(executionId)) !== undefined)
    throw new CscError('RECEIPT_INVALID', 'this executor does not have that execution');
  verifyOrphanReceipt(receiptJson, executionId, keys.ringOf(executor.uri));
  await gate.store.addOrphanReceipt(executionId, receiptJson);
  gate.onNotice('kept the receipt of an execution that this gate does not know', {
    executor: executor.name,
    executionId,
  });
}

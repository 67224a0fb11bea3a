import { toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { toOutcome } from '@csc-fleet/common/evidence';
import { ExecutionState, type Receipt, toDuration } from '@csc-fleet/common/messages';
import { parseReceipt } from '@csc-fleet/common/receipt';
import type { Happening, LiveExecution } from '../execution/execution.ts';
import type { Peer } from '../schedule/peer.ts';
import type { Connection } from './connection.ts';
import { verifyExecutorReceipt } from './verify-receipt.ts';

/**
 * An executor has started what was withdrawn from it, after its ticket was over or after it had said Hello without it:
 * its clock is wrong by far, or it lies.
 * Where nobody else has it yet it keeps it. Where somebody has, it is told to end its own, and that is logged: its
 * receipt will be the evidence.
 */
export async function takeLateStart(connection: Connection, peer: Peer, executionId: string): Promise<void> {
  const { gate, executor } = connection;
  const [ticketId] = await gate.store.withdrawnTickets(executionId, executor.uri);
  if (ticketId === undefined) return;
  const execution = gate.executions.openById(executionId);
  gate.onError(lateStart(connection, executionId));
  if (execution !== undefined && isWaiting(connection, execution)) {
    peer.assigned.add(executionId);
    const change = {
      ...holder(connection, ticketId),
      state: ExecutionState.RUNNING,
      started_at: now(connection),
    };
    const started: Happening = { $case: 'started', value: { executorId: executor.name, notes: [] } };
    await execution.advance(gate.clock.now(), { change, happened: [started] });
  } else {
    peer.send({ $case: 'cancel', value: { executionId, gracePeriod: toDuration(0) } });
  }
}

/**
 * The receipt for a ticket that was withdrawn from this executor. It ends the execution where nobody else has it; else
 * it is kept beside the one that counts. Resolves to false where there was no such offer. Throws RECEIPT_INVALID,
 * SIGNATURE_INVALID, KEY_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function takeLateReceipt(
  connection: Connection,
  execution: LiveExecution,
  { receiptJson }: Receipt,
): Promise<boolean> {
  const { gate, keys, executor } = connection;
  const ticketIds = await gate.store.withdrawnTickets(execution.id, executor.uri);
  const ticketId = pickTicket(ticketIds, receiptJson);
  if (ticketId === undefined) return false;
  const row = { ...execution.row, ...holder(connection, ticketId) };
  const verified = verifyExecutorReceipt(receiptJson, row, keys.ringOf(executor.uri));
  if (isWaiting(connection, execution)) {
    await execution.advance(gate.clock.now(), { change: holder(connection, ticketId) });
    await gate.ending.withReceipt(execution, toOutcome(verified, 'executor', false), receiptJson);
    return true;
  }
  await gate.store.addLateReceipt(ticketId, receiptJson);
  gate.onError(lateStart(connection, execution.id));
  return true;
}

// A v0.1 receipt does not say whose it is: then it is the last one's.
function pickTicket(ticketIds: readonly string[], receiptJson: Uint8Array): string | undefined {
  const [last] = ticketIds;
  if (last === undefined) return undefined;
  const receipt = orThrow(parseReceipt(receiptJson), 'RECEIPT_INVALID', 'the receipt');
  if (receipt.receipt_version !== 'csc.receipt.v0.2') return last;
  return ticketIds.find((it) => it === receipt.ticket_id) ?? last;
}

// Out of the queue, too: from here on it is this executor's.
function isWaiting({ gate }: Connection, { row, id }: LiveExecution): boolean {
  return row.state === ExecutionState.QUEUED && gate.scheduler.withdraw(id);
}

function holder({ executor }: Connection, ticketId: string): { executor_id: string; ticket_id: string } {
  return { executor_id: executor.uri, ticket_id: ticketId };
}

function now({ gate }: Connection): string {
  return toTimestamp(gate.clock.now());
}

function lateStart({ executor }: Connection, executionId: string): CscError {
  const message = `executor ${executor.uri} has started ${executionId} after that was taken from it: its clock is wrong, or it said that it would not`;
  return new CscError('TICKET_EXPIRED', message);
}

import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { toOutcome } from '@csc-fleet/common/evidence';
import type { Identity } from '@csc-fleet/common/identity';
import { ExecutionState, type Receipt, toDuration } from '@csc-fleet/common/messages';
import { type ExecutionReceipt, parseReceipt } from '@csc-fleet/common/receipt';
import { auditOfLateReceipt } from '../execution/audit.ts';
import type { Happening, LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import type { Finisher } from '../execution/finisher.ts';
import type { Peer } from '../schedule/peer.ts';
import type { Scheduler } from '../schedule/scheduler.ts';
import type { Store } from '../store/store.ts';
import type { ExecutorKeys } from './executor-keys.ts';
import { verifyExecutorReceipt } from './receipts.ts';

export interface LateStartPorts {
  readonly executions: Pick<Executions, 'openById'>;
  readonly store: Pick<Store, 'withdrawnTickets'>;
  readonly scheduler: Pick<Scheduler, 'withdraw'>;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/**
 * An executor has started what was withdrawn from it, after its ticket was over or after it had said Hello without it:
 * its clock is wrong by far, or it lies.
 * Where nobody else has it yet it keeps it. Where somebody has, it is told to end its own, and that is logged: its
 * receipt will be the evidence.
 */
export async function takeLateStart(ports: LateStartPorts, peer: Peer, executionId: string): Promise<void> {
  const { executions, store, scheduler, clock, onError } = ports;
  const [ticketId] = await store.withdrawnTickets(executionId, peer.id);
  if (ticketId === undefined) return;
  const execution = executions.openById(executionId);
  onError(lateStart(peer.id, executionId));
  if (execution !== undefined && takeFromQueue(scheduler, execution)) {
    peer.assigned.add(executionId);
    const change = {
      ...holder(peer.id, ticketId),
      state: ExecutionState.RUNNING,
      started_at: toTimestamp(clock.now()),
    };
    const started: Happening = { $case: 'started', value: { executorId: peer.name, notes: [] } };
    await execution.advance(clock.now(), { change, happened: [started] });
  } else {
    peer.send({ $case: 'cancel', value: { executionId, gracePeriod: toDuration(0) } });
  }
}

export interface LateReceiptPorts extends LateStartPorts {
  readonly store: Pick<Store, 'withdrawnTickets' | 'addLateReceipt'>;
  readonly finisher: Pick<Finisher, 'withReceipt' | 'ending'>;
  readonly keys: Pick<ExecutorKeys, 'ringOf'>;
}

/**
 * The receipt for a ticket that was withdrawn from this executor. It ends the execution where nobody else has it; else
 * it is kept beside the one that counts. Resolves to false where there was no such offer. Throws RECEIPT_INVALID,
 * SIGNATURE_INVALID, KEY_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function takeLateReceipt(
  ports: LateReceiptPorts,
  executor: Identity,
  execution: LiveExecution,
  receipt: Receipt,
): Promise<boolean> {
  const { store, keys, scheduler, finisher, clock, onError } = ports;
  const ticketIds = await store.withdrawnTickets(execution.id, executor.uri);
  const ticketId = pickTicket(ticketIds, inChain(receipt));
  if (ticketId === undefined) return false;
  const row = { ...execution.row, ...holder(executor.uri, ticketId) };
  const verified = verifyExecutorReceipt(receipt, row, keys.ringOf(executor.uri));
  if (takeFromQueue(scheduler, execution)) {
    await execution.advance(clock.now(), { change: holder(executor.uri, ticketId) });
    await finisher.withReceipt(execution, toOutcome(verified, 'executor', false), receipt);
    return true;
  }
  await keepBeside(ports, executor, { execution, ticketId, receipt, verified });
  // Where the owners have said that nobody waits for it, it was to be hoped for.
  if (execution.resolutions.length === 0) onError(lateStart(executor.uri, execution.id));
  return true;
}

/**
 * A receipt of an executor for an execution that has ended by another receipt, the gate's own or one of the same
 * executor. Where it verifies it is kept beside that one and logged like it, so that nothing is acknowledged that is in
 * neither. Throws RECEIPT_INVALID, SIGNATURE_INVALID, KEY_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function takeContradiction(
  ports: Pick<LateReceiptPorts, 'store' | 'keys' | 'clock' | 'onError'>,
  executor: Identity,
  execution: LiveExecution,
  receipt: Receipt,
): Promise<void> {
  const verified = verifyExecutorReceipt(receipt, execution.row, ports.keys.ringOf(executor.uri));
  const ticketId = execution.row.ticket_id ?? '';
  await keepBeside(ports, executor, { execution, ticketId, receipt, verified });
  const message = `executor ${executor.uri} has signed a receipt of ${execution.id}, which had ended by another: its journal was set back, or it lies`;
  ports.onError(new CscError('RECEIPT_INVALID', message, { executionId: execution.id }));
}

interface LateReceipt {
  readonly execution: LiveExecution;
  readonly ticketId: string;
  readonly receipt: Receipt;
  readonly verified: ExecutionReceipt;
}

// One of each ticket: the store is not for an executor to fill.
async function keepBeside(
  { store, clock }: Pick<LateReceiptPorts, 'store' | 'clock'>,
  executor: Identity,
  { execution, ticketId, receipt, verified }: LateReceipt,
): Promise<void> {
  const receiptJson = inChain(receipt);
  const { state, exitCode } = toOutcome(verified, 'executor', false);
  const late = { executor: executor.uri, receiptJson, state, exitCode };
  const audit = auditOfLateReceipt(execution.row, clock.now(), late);
  const offer = { ticket_id: ticketId, executor_id: executor.uri };
  if (await store.addLateReceipt(execution.id, offer, receiptJson, audit)) return;
  throw new CscError('RECEIPT_INVALID', 'another receipt for its ticket is kept beside the one that counts');
}

function inChain({ receiptJson, originalJson }: Receipt): Buffer {
  return originalJson.length > 0 ? originalJson : receiptJson;
}

// A v0.1 receipt does not say whose it is: then it is the last one's.
function pickTicket(ticketIds: readonly string[], receiptJson: Uint8Array): string | undefined {
  const [last] = ticketIds;
  if (last === undefined) return undefined;
  const receipt = orThrow(parseReceipt(receiptJson), 'RECEIPT_INVALID', 'the receipt');
  if (receipt.receipt_version !== 'csc.receipt.v0.2') return last;
  return ticketIds.find((it) => it === receipt.ticket_id) ?? last;
}

// True where nobody else has it yet: from here on it is this executor's.
function takeFromQueue(scheduler: Pick<Scheduler, 'withdraw'>, { row, id }: LiveExecution): boolean {
  return row.state === ExecutionState.QUEUED && scheduler.withdraw(id);
}

function holder(executor: string, ticketId: string): { executor_id: string; ticket_id: string } {
  return { executor_id: executor, ticket_id: ticketId };
}

function lateStart(executor: string, executionId: string): CscError {
  const message = `executor ${executor} has started ${executionId} after that was taken from it: its clock is wrong, or it said that it would not`;
  return new CscError('TICKET_EXPIRED', message, { executionId });
}

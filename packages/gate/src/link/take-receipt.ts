import { CscError } from '@csc-fleet/common/errors';
import { toOutcome } from '@csc-fleet/common/evidence';
import type { Identity } from '@csc-fleet/common/identity';
import { ExecutionState, type Receipt } from '@csc-fleet/common/messages';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import { type Timed, untimed } from '@csc-fleet/common/telemetry';
import { fromStoredTrace, type Tracing, traced } from '@csc-fleet/common/tracing';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import { maxLogLength, outputLimitsOf, type StreamLimits } from '../output/grant.ts';
import type { OutputStore } from '../output/output-store.ts';
import type { Scheduler } from '../schedule/scheduler.ts';
import type { Store } from '../store/store.ts';
import { findOwn } from './progress.ts';
import { verifyExecutorReceipt } from './receipts.ts';
import { type LateReceiptPorts, takeContradiction, takeLateReceipt } from './take-late.ts';

export interface ReceiptPorts extends LateReceiptPorts {
  readonly executions: Pick<Executions, 'openById' | 'find'>;
  readonly store: Pick<Store, 'withdrawnTickets' | 'addLateReceipt' | 'receipt'>;
  readonly scheduler: Pick<Scheduler, 'withdraw' | 'rests'>;
  readonly output: Pick<OutputStore, 'with'>;
  readonly limits: { readonly output: StreamLimits };
  readonly onNotice: (message: LogMessage<'info'>, details: LogFields) => void;
  /** Absent: nobody asks how long it takes. */
  readonly timed?: Timed<'receipt'>;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

/**
 * Verifies and stores an executor's receipt. Resolves to true once it is on disk with all of the output, also where it
 * had been before: then it may be acknowledged; to false where the connection ended first. Throws RECEIPT_INVALID,
 * SIGNATURE_INVALID, KEY_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function takeReceipt(
  ports: ReceiptPorts,
  executor: Identity,
  receipt: Receipt,
  gone: AbortSignal,
): Promise<boolean> {
  const { executions, keys, finisher, scheduler, output, limits, timed = untimed, tracing } = ports;
  const { executionId, outputLogLength, signedLogLength = outputLogLength } = receipt;
  const execution = findOwn(executions, executor, executionId);
  if (execution === undefined) return takeOther(ports, executor, receipt);
  const verified = verifyExecutorReceipt(receipt, execution.row, keys.ringOf(executor.uri));
  if (Math.max(outputLogLength, signedLogLength) > maxLogLength(outputLimitsOf(execution.row, limits.output)))
    throw new CscError('RECEIPT_INVALID', 'it counts on more output than the ticket grants');
  const isOpen = () => executions.openById(executionId) === execution;
  if (!(await hasOutput(output, { executionId, outputLogLength, isOpen }, gone))) return false;
  // Another copy of it may have been faster.
  if (isOpen()) {
    // What the host has lost since it signed, this gate may have: the receipt vouches for it.
    const vouched = Math.max(outputLogLength, signedLogLength);
    const bytes = await output.with(executionId, (log) => log.confirm(vouched));
    if (bytes > 0) ports.onNotice(unconfirmedNote, { executionId, executor: executor.uri, bytes });
    if (await isResolvedFirst(ports, execution)) return takeReceipt(ports, executor, receipt, gone);
    const outcome = toOutcome(verified, 'executor', execution.cancelGraceMs !== undefined);
    const facts = { 'csc.execution.id': executionId, 'csc.executor.id': executor.name };
    const parent = fromStoredTrace(execution.row.trace_context);
    await traced(tracing, 'csc.gate.receipt', { parent, facts }, () =>
      timed('receipt', () => finisher.withReceipt(execution, outcome, receipt)),
    );
    scheduler.rests.forget(executor.uri);
  }
  return true;
}

// The owners' word was on its way to the disk before: then it is kept beside that.
async function isResolvedFirst(
  { finisher }: Pick<ReceiptPorts, 'finisher'>,
  { id, row }: LiveExecution,
): Promise<boolean> {
  if (row.ended_at === null || row.state !== ExecutionState.LOST) return false;
  await finisher.ending(id);
  return true;
}

const unconfirmedNote =
  'an executor vouches for less output than it has sent, as after a power cut: the rest is unconfirmed, and kept apart from the output';

/**
 * Resolves once that much output would outlast a power cut: the executor deletes its own copy when its receipt is
 * acknowledged. Also where another copy of the receipt was taken meanwhile, which may count on less of it. False where the
 * connection ended first: the executor will send the receipt again.
 */
async function hasOutput(
  output: Pick<OutputStore, 'with'>,
  { executionId, outputLogLength, isOpen }: AwaitedOutput,
  gone: AbortSignal,
): Promise<boolean> {
  if (outputLogLength === 0) return true;
  return output.with(executionId, async (log) => {
    const isDue = () => log.length >= outputLogLength || !isOpen();
    while (!isDue() && !gone.aborted) await log.grown(gone);
    if (!isDue()) return false;
    await log.sync();
    return true;
  });
}

interface AwaitedOutput {
  readonly executionId: string;
  readonly outputLogLength: number;
  readonly isOpen: () => boolean;
}

/**
 * Of an execution that this executor does not have, or has no more. Where it never had it, nothing is kept of it: its
 * store is not for an executor to fill. Where it is the gate's own store that was lost, the host still has the receipt.
 */
async function takeOther(ports: ReceiptPorts, executor: Identity, receipt: Receipt): Promise<boolean> {
  const { executions, store } = ports;
  const execution = await executions.find(receipt.executionId);
  if (execution !== undefined) {
    const stored = execution.row.executor_id === executor.uri ? await store.receipt(execution.id) : undefined;
    if (stored?.receiptJson.equals(receipt.receiptJson)) return true;
    // The gate's own may be the one that counts: it had been told that this executor did not start it.
    if (await takeLateReceipt(ports, executor, execution, receipt)) return true;
    if (stored !== undefined) {
      await takeContradiction(ports, executor, execution, receipt);
      return true;
    }
  }
  throw new CscError('RECEIPT_INVALID', 'this executor was never offered that execution');
}

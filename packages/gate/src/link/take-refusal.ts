import { isCscError, retryOf } from '@csc-fleet/common/errors';
import { toReceiptError } from '@csc-fleet/common/evidence';
import type { Identity } from '@csc-fleet/common/identity';
import { ExecutionState, type Refused } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import type { Finisher } from '../execution/finisher.ts';
import type { Peer } from '../schedule/peers.ts';
import type { Scheduler } from '../schedule/scheduler.ts';
import type { ExecutorKeys } from './executor-keys.ts';
import { findOwn, type ProgressPorts, takeAccepted } from './progress.ts';
import { notCounted, verifyExecutorReceipt } from './receipts.ts';

export interface RefusalPorts extends ProgressPorts {
  readonly executions: Pick<Executions, 'openById'>;
  readonly scheduler: Pick<Scheduler, 'offers' | 'rests' | 'requeue' | 'place'>;
  readonly finisher: Pick<Finisher, 'withReceipt' | 'unstarted'>;
  readonly keys: Pick<ExecutorKeys, 'ringOf'>;
}

// How long an executor is left alone after such a refusal.
const restMs = 5_000;

/** True where another attempt may succeed, here or elsewhere: nobody has signed an end of this one. */
function isTransient({ reason, receiptJson }: Refused, isWithdrawn: boolean): boolean {
  if (receiptJson.length > 0) return false;
  // Only this gate withdraws: a host that says so by itself gets no second offer.
  return reason === 'TICKET_REVOKED' ? isWithdrawn : retryOf(reason) !== 'no';
}

/** The executor will not run what it was offered: somebody else may, or that is its end. */
export async function takeRefusal(
  ports: RefusalPorts,
  executor: Identity,
  peer: Peer,
  refused: Refused,
): Promise<void> {
  const { executions, scheduler } = ports;
  const { executionId, reason } = refused;
  const execution = findOwn(executions, executor, executionId);
  if (execution === undefined || execution.terminal) return;
  // Redeemed before: it runs there, and its receipt will come.
  if (reason === 'TICKET_REPLAYED') return takeAccepted(ports, execution, []);
  peer.assigned.delete(executionId);
  const isWithdrawn = scheduler.offers.find(executionId)?.isWithdrawn ?? false;
  // A Hello may have named it while it was still being redeemed; then it is not offered again.
  if (execution.row.state === ExecutionState.OFFERED && isTransient(refused, isWithdrawn)) {
    rest(scheduler, peer, reason);
    await scheduler.requeue(execution, `executor ${peer.name} does not take it now: ${reason}`);
  } else {
    await block(ports, executor, execution, refused);
  }
  scheduler.place();
}

// Otherwise it would be offered the same again, and refuse it again, as fast as both can.
function rest({ rests }: Pick<Scheduler, 'rests'>, peer: Peer, reason: string): void {
  if (reason === 'DRAINING') peer.draining = true;
  else rests.take(peer.id, restMs);
}

/** Ends it with the executor's own receipt, or with the gate's where the executor gives none that counts. */
async function block(
  ports: RefusalPorts,
  executor: Identity,
  execution: LiveExecution,
  refused: Refused,
): Promise<void> {
  const { finisher } = ports;
  const outcome = {
    state: ExecutionState.BLOCKED,
    error: toReceiptError(`${refused.reason}: ${refused.message}`),
  };
  if (hasGoodReceipt(ports, executor, execution, refused)) {
    await finisher.withReceipt(execution, outcome, refused);
  } else {
    await finisher.unstarted(execution, outcome.state, outcome.error);
  }
}

function hasGoodReceipt(
  { keys, onError }: RefusalPorts,
  executor: Identity,
  execution: LiveExecution,
  refused: Refused,
): boolean {
  if (refused.receiptJson.length === 0) return false;
  try {
    verifyExecutorReceipt(refused, execution.row, keys.ringOf(executor.uri));
    return true;
  } catch (cause) {
    if (!isCscError(cause)) throw cause;
    onError(notCounted(executor, execution.id, cause));
    return false;
  }
}

import { isCscError, retryOf } from '@csc-fleet/common/errors';
import { toReceiptError } from '@csc-fleet/common/evidence';
import { ExecutionState, type Refused } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import type { Peer } from '../schedule/peer.ts';
import type { GateContext } from '../service/context.ts';
import { type Connection, findOwn, notCounted } from './connection.ts';
import { takeAccepted } from './progress.ts';
import { verifyExecutorReceipt } from './verify-receipt.ts';

// How long an executor is left alone after such a refusal.
const restMs = 5_000;

/** True where another attempt may succeed, here or elsewhere: nobody has signed an end of this one. */
function isTransient({ reason, receiptJson }: Refused, isWithdrawn: boolean): boolean {
  if (receiptJson.length > 0) return false;
  // Only this gate withdraws: a host that says so by itself gets no second offer.
  return reason === 'TICKET_REVOKED' ? isWithdrawn : retryOf(reason) !== 'no';
}

/** The executor will not run what it was offered: somebody else may, or that is its end. */
export async function takeRefusal(connection: Connection, peer: Peer, refused: Refused): Promise<void> {
  const { gate } = connection;
  const { executionId, reason } = refused;
  const execution = findOwn(connection, executionId);
  if (execution === undefined || execution.terminal) return;
  // Redeemed before: it runs there, and its receipt will come.
  if (reason === 'TICKET_REPLAYED') return takeAccepted(gate, execution, []);
  peer.assigned.delete(executionId);
  const isWithdrawn = gate.scheduler.offers.find(executionId)?.isWithdrawn ?? false;
  // A Hello may have named it while it was still being redeemed; then it is not offered again.
  if (execution.row.state === ExecutionState.OFFERED && isTransient(refused, isWithdrawn)) {
    rest(gate, peer, reason);
    await gate.scheduler.requeue(execution, `executor ${peer.name} does not take it now: ${reason}`);
  } else {
    await block(connection, execution, refused);
  }
  gate.scheduler.place();
}

// Otherwise it would be offered the same again, and refuse it again, as fast as both can.
function rest({ scheduler }: GateContext, peer: Peer, reason: string): void {
  if (reason === 'DRAINING') peer.draining = true;
  else scheduler.rests.take(peer.id, restMs);
}

/** Ends it with the executor's own receipt, or with the gate's where the executor gives none that counts. */
async function block(connection: Connection, execution: LiveExecution, refused: Refused): Promise<void> {
  const { ending } = connection.gate;
  const outcome = {
    state: ExecutionState.BLOCKED,
    error: toReceiptError(`${refused.reason}: ${refused.message}`),
  };
  if (hasGoodReceipt(connection, execution, refused)) {
    await ending.withReceipt(execution, outcome, refused.receiptJson);
  } else {
    await ending.unstarted(execution, outcome.state, outcome.error);
  }
}

function hasGoodReceipt(connection: Connection, execution: LiveExecution, { receiptJson }: Refused): boolean {
  if (receiptJson.length === 0) return false;
  const { gate, keys, executor } = connection;
  try {
    verifyExecutorReceipt(receiptJson, execution.row, keys.ringOf(executor.uri));
    return true;
  } catch (cause) {
    if (!isCscError(cause)) throw cause;
    gate.onError(notCounted(connection, execution.id, cause));
    return false;
  }
}

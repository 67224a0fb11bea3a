import {
  type CancelRequest,
  type CancelResponse,
  ExecutionState,
  toDuration,
  toMilliseconds,
} from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import { toExecution } from '../execution/to-message.ts';
import type { GateContext } from '../service/context.ts';

const defaultGraceMs = 5_000;
const maxGraceMs = 60_000;

/**
 * Ends an execution: at once where nothing runs yet, by its executor otherwise. Does nothing where it has ended or is
 * being cancelled already. Throws EXECUTION_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function cancel(
  gate: GateContext,
  principal: string,
  request: CancelRequest,
): Promise<CancelResponse> {
  const execution = await gate.executions.visible(principal, request.executionId);
  const { state } = execution.row;
  if (state === ExecutionState.AWAITING_APPROVAL || state === ExecutionState.QUEUED) {
    gate.scheduler.withdraw(execution.id);
    await gate.ending.unstarted(execution, ExecutionState.CANCELLED, 'cancelled before it was started');
  } else if (state === ExecutionState.OFFERED || state === ExecutionState.RUNNING) {
    await cancelOnHost(gate, principal, execution, graceOf(request));
  }
  return { execution: toExecution(execution.row) };
}

function graceOf({ gracePeriod }: CancelRequest): number {
  if (gracePeriod === undefined) return defaultGraceMs;
  return Math.max(0, Math.min(toMilliseconds(gracePeriod), maxGraceMs));
}

async function cancelOnHost(
  gate: GateContext,
  principal: string,
  execution: LiveExecution,
  graceMs: number,
): Promise<void> {
  const gracePeriod = toDuration(graceMs);
  const first = execution.cancelGraceMs === undefined;
  // Also for an offer that has not left yet: the scheduler sends the cancel right behind it.
  execution.cancelGraceMs = graceMs;
  // Sent again for a second request: its grace period may be shorter.
  const peer = gate.scheduler.peers.get(execution.row.executor_id ?? '');
  peer?.send({ $case: 'cancel', value: { executionId: execution.id, gracePeriod } });
  if (!first) return;
  const cancelling = { $case: 'cancelling', value: { principal, gracePeriod } } as const;
  try {
    await execution.advance(gate.clock.now(), { happened: [cancelling] });
  } catch (error) {
    // The caller is told that it is not recorded: the next one is the first again.
    execution.cancelGraceMs = undefined;
    throw error;
  }
}

import { ExecutionState } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import { executorName } from '../execution/executor-name.ts';
import type { GateContext } from '../service/context.ts';
import { sweepOffers } from './sweep-offers.ts';

/**
 * Ends what has waited too long: for an approval, for an executor, or for an executor that is gone. `awaySince` keeps,
 * between calls, since when (milliseconds) an executor has been missed.
 */
export async function sweep(gate: GateContext, awaySince: Map<string, number>): Promise<void> {
  const now = gate.clock.now();
  await sweepOffers(gate);
  for (const executor of awaySince.keys()) {
    if (gate.scheduler.peers.get(executor) !== undefined) awaySince.delete(executor);
  }
  gate.scheduler.restoreLine();
  for (const execution of [...gate.executions.open()]) {
    const { state, decision_expires_at: decisionEnds, queue_deadline: queueEnds } = execution.row;
    if (state === ExecutionState.AWAITING_APPROVAL && new Date(decisionEnds) <= now) {
      await gate.ending.unstarted(
        execution,
        ExecutionState.EXPIRED,
        'no approval came before the decision expired',
      );
    } else if (state === ExecutionState.QUEUED && queueEnds !== null && new Date(queueEnds) <= now) {
      if (!gate.scheduler.withdraw(execution.id)) continue;
      await gate.ending.unstarted(execution, ExecutionState.EXPIRED, 'no executor was free in time');
    } else if (state === ExecutionState.OFFERED || state === ExecutionState.RUNNING) {
      await sweepAway(gate, execution, awaySince, now);
    }
  }
}

async function sweepAway(
  gate: GateContext,
  execution: LiveExecution,
  awaySince: Map<string, number>,
  now: Date,
): Promise<void> {
  const executor = execution.row.executor_id ?? '';
  if (gate.scheduler.peers.get(executor) !== undefined) return;
  const since = awaySince.get(executor) ?? now.getTime();
  awaySince.set(executor, since);
  if (now.getTime() - since < gate.executorLostAfterSec * 1000) return;
  await gate.ending.lost(
    execution,
    `executor ${executorName(executor)} has been away for ${gate.executorLostAfterSec} s; it may still come back with the receipt`,
  );
}

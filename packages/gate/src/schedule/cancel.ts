import type { Clock } from '@csc-fleet/common/encoding';
import {
  type CancelRequest,
  type CancelResponse,
  ExecutionState,
  toDuration,
  toMilliseconds,
} from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions, Principal } from '../execution/executions.ts';
import type { Finisher } from '../execution/finisher.ts';
import { toExecution } from '../execution/row.ts';
import type { Scheduler } from './scheduler.ts';

export interface CancelPorts {
  readonly executions: Pick<Executions, 'visible'>;
  readonly scheduler: Pick<Scheduler, 'peers' | 'withdraw'>;
  readonly finisher: Pick<Finisher, 'unstarted'>;
  readonly clock: Clock;
}

const defaultGraceMs = 5_000;
const maxGraceMs = 60_000;

// What is LOST is ended when its executor is back: whether it runs until then nobody here knows.
const onHost: ReadonlySet<number> = new Set([
  ExecutionState.OFFERED,
  ExecutionState.RUNNING,
  ExecutionState.LOST,
]);

/**
 * Ends an execution: at once where nothing runs yet, by its executor otherwise, as soon as it is there. Does nothing
 * where it has ended or is being cancelled already. Throws EXECUTION_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function cancel(
  ports: CancelPorts,
  principal: Principal,
  request: CancelRequest,
): Promise<CancelResponse> {
  const execution = await ports.executions.visible(principal, request.executionId);
  const { state, ended_at: endedAt } = execution.row;
  if (state === ExecutionState.AWAITING_APPROVAL || state === ExecutionState.QUEUED) {
    ports.scheduler.withdraw(execution.id);
    await ports.finisher.unstarted(execution, ExecutionState.CANCELLED, 'cancelled before it was started');
  } else if (onHost.has(state) && endedAt === null) {
    await cancelOnHost(ports, principal, execution, graceOf(request));
  }
  return { execution: toExecution(execution.row) };
}

function graceOf({ gracePeriod }: CancelRequest): number {
  if (gracePeriod === undefined) return defaultGraceMs;
  return Math.max(0, Math.min(toMilliseconds(gracePeriod), maxGraceMs));
}

async function cancelOnHost(
  { scheduler, clock }: CancelPorts,
  principal: Principal,
  execution: LiveExecution,
  graceMs: number,
): Promise<void> {
  const gracePeriod = toDuration(graceMs);
  const first = execution.cancelGraceMs === undefined;
  // Also for an offer that has not left yet: the scheduler sends the cancel right behind it.
  execution.cancelGraceMs = graceMs;
  // Sent again for a second request: its grace period may be shorter.
  const peer = scheduler.peers.get(execution.row.executor_id ?? '');
  peer?.send({ $case: 'cancel', value: { executionId: execution.id, gracePeriod } });
  if (!first) return;
  const cancelling = { $case: 'cancelling', value: { principal: principal.uri, gracePeriod } } as const;
  try {
    await execution.advance(clock.now(), { happened: [cancelling] });
  } catch (error) {
    // The caller is told that it is not recorded: the next one is the first again.
    execution.cancelGraceMs = undefined;
    throw error;
  }
}

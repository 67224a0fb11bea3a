import { ExecutionState, toDuration } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import type { Peer } from '../schedule/peer.ts';
import type { GateContext } from '../service/context.ts';
import type { Connection } from './connection.ts';
import { takeAccepted } from './progress.ts';
import { takeLateStart } from './take-late.ts';

/**
 * Brings what the gate believes of an executor that is back in line with what it knows: its journal is the truth.
 * @param held the executions whose receipt it still owes
 */
export async function reconcile(
  connection: Connection,
  peer: Peer,
  held: ReadonlySet<string>,
): Promise<void> {
  const { gate } = connection;
  const own = [...gate.executions.open()].filter(({ row }) => row.executor_id === peer.id);
  for (const execution of own) if (held.has(execution.id)) takeUp(gate, peer, execution);
  await takeUpLate(connection, peer, held);
  const others = own.filter(({ id }) => !held.has(id));
  if (others.some(({ row }) => row.state === ExecutionState.OFFERED)) gate.scheduler.rests.add(peer.id);
  await Promise.all(others.map((execution) => giveUp(gate, peer, execution)));
}

/** Those that it was taken for silent about. */
async function takeUpLate(connection: Connection, peer: Peer, held: ReadonlySet<string>): Promise<void> {
  const { executions } = connection.gate;
  for (const executionId of held) {
    const execution = executions.openById(executionId);
    if (execution !== undefined && execution.row.executor_id !== peer.id)
      await takeLateStart(connection, peer, executionId);
  }
}

/** The executor has it. */
function takeUp(gate: GateContext, peer: Peer, execution: LiveExecution): void {
  peer.assigned.add(execution.id);
  takeAccepted(gate, execution, []);
  // It may have been asked for while nobody heard.
  if (execution.cancelGraceMs === undefined || execution.terminal) return;
  const gracePeriod = toDuration(execution.cancelGraceMs);
  peer.send({ $case: 'cancel', value: { executionId: execution.id, gracePeriod } });
}

/**
 * The executor does not have it. An honest one never will: it redeems nothing that came over an earlier connection. As
 * it may be another, its ticket is kept like a withdrawn one: what it starts all the same is evidence.
 */
async function giveUp(
  { scheduler, ending }: GateContext,
  peer: Peer,
  execution: LiveExecution,
): Promise<void> {
  const { state, started_at: startedAt, ticket_id: ticketId } = execution.row;
  const offer = ticketId === null ? undefined : { ticket_id: ticketId, executor_id: peer.id };
  if (state === ExecutionState.OFFERED) {
    await scheduler.requeue(execution, 'its executor came back without having started it', offer);
  } else if (state === ExecutionState.RUNNING) {
    const why = `executor ${peer.name} came back and knows nothing of it: was its state directory removed?`;
    await ending.lost(execution, why);
  } else if (state === ExecutionState.LOST && startedAt === null) {
    const why = `executor ${peer.name} was away, and came back without having started it`;
    await ending.unstarted(execution, ExecutionState.EXPIRED, why, offer);
  }
}

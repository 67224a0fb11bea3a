import { ExecutionState, type Hello, toDuration } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import type { Finisher } from '../execution/finisher.ts';
import type { Peer } from '../schedule/peer.ts';
import type { Scheduler } from '../schedule/scheduler.ts';
import { takeAccepted, takeReturned } from './progress.ts';
import { type LateStartPorts, takeLateStart } from './take-late.ts';

export interface ReconcilePorts extends LateStartPorts {
  readonly executions: Pick<Executions, 'open' | 'openById' | 'find'>;
  readonly scheduler: Pick<Scheduler, 'rests' | 'requeue' | 'withdraw'>;
  readonly finisher: Pick<Finisher, 'lost' | 'unstarted'>;
}

/** Which ticket an executor has of each execution that is open there. */
export type Placed = ReadonlyMap<string, string | null>;

/**
 * What is open at an executor. To be asked before anything more is offered to it, of which its Hello says nothing.
 */
export function placedAt(executions: Pick<Executions, 'open'>, executorId: string): Placed {
  const own = [...executions.open()].filter(({ row }) => row.executor_id === executorId);
  return new Map(own.map(({ id, row }) => [id, row.ticket_id]));
}

/**
 * Counts against an executor what it was offered and came back without having started. To be called once for each
 * Hello, before `reconcile`.
 */
export function countLost(
  { executions, scheduler }: Pick<ReconcilePorts, 'executions' | 'scheduler'>,
  peer: Peer,
  { executionIds }: Pick<Hello, 'executionIds'>,
  before: Placed,
): void {
  const held = new Set(executionIds);
  const own = [...before.keys()].map((id) => executions.openById(id));
  if (own.some((it) => it !== undefined && !held.has(it.id) && isUnstarted(it))) scheduler.rests.add(peer.id);
}

/**
 * Brings what the gate believes of an executor that is back in line with what it knows: its journal is the truth. May be called
 * again where the store took no writes; what has been offered meanwhile is left alone.
 * @param before what was open there when it said Hello
 */
export async function reconcile(
  ports: ReconcilePorts,
  peer: Peer,
  { executionIds, receiptlessIds }: Pick<Hello, 'executionIds' | 'receiptlessIds'>,
  before: Placed,
): Promise<void> {
  const { executions } = ports;
  const isAsBefore = ({ id, row }: LiveExecution): boolean =>
    row.executor_id === peer.id && before.get(id) === row.ticket_id;
  // Those whose receipt it still owes, and of them those of which it has none to bring.
  const held = new Set(executionIds);
  const receiptless = new Set(receiptlessIds);
  const own = [...executions.open()].filter(isAsBefore);
  const isHeld = own.filter(({ id }) => held.has(id));
  await Promise.all(
    isHeld.map((it) => (receiptless.has(it.id) ? giveUpReceipt(ports, peer, it) : takeUp(ports, peer, it))),
  );
  await takeUpLate(ports, peer, held);
  const others = own.filter((it) => !held.has(it.id) && isAsBefore(it));
  await Promise.all(others.map((execution) => giveUp(ports, peer, execution)));
}

/** Those that it was taken for silent about, and those that are over. */
async function takeUpLate(ports: ReconcilePorts, peer: Peer, held: ReadonlySet<string>): Promise<void> {
  const { executions } = ports;
  let over = 0;
  for (const executionId of held) {
    const execution = executions.openById(executionId);
    if (execution === undefined && ++over <= mostOver) await endResolved(ports, peer, executionId);
    if (execution !== undefined && execution.row.executor_id !== peer.id)
      await takeLateStart(ports, peer, executionId);
  }
}

// Each is read from the disk, and who holds more has receipts of a gate that is lost.
const mostOver = 64;

/** What the owners have resolved meanwhile nobody waits for, and its receipt is welcome. */
async function endResolved({ executions }: ReconcilePorts, peer: Peer, executionId: string): Promise<void> {
  const execution = await executions.find(executionId);
  if (execution?.row.executor_id !== peer.id || execution.resolutions.length === 0) return;
  peer.send({ $case: 'cancel', value: { executionId, gracePeriod: toDuration(0) } });
}

/** The executor has it. */
async function takeUp(ports: ReconcilePorts, peer: Peer, execution: LiveExecution): Promise<void> {
  peer.assigned.add(execution.id);
  if (isUnstarted(execution)) execution.isUndecided = true;
  takeAccepted(ports, execution, []);
  await takeReturned(ports, execution);
  // It may have been asked for while nobody heard.
  if (execution.cancelGraceMs === undefined || execution.terminal) return;
  const gracePeriod = toDuration(execution.cancelGraceMs);
  peer.send({ $case: 'cancel', value: { executionId: execution.id, gracePeriod } });
}

/** It began there, so that nobody else may run it, and nothing of it goes on: its slot is free, and the owners end it. */
async function giveUpReceipt(ports: ReconcilePorts, peer: Peer, execution: LiveExecution): Promise<void> {
  takeAccepted(ports, execution, []);
  const why = `the disk of executor ${peer.name} has lost its receipt, or what that was to be made of, and none will come: have its owners end it (${ending(execution)})`;
  await loseForGood(ports, execution, why);
}

// What only the owners end names how. Once, however often the executor comes back without it.
async function loseForGood(
  { finisher }: Pick<ReconcilePorts, 'finisher'>,
  execution: LiveExecution,
  why: string,
): Promise<void> {
  const { state, error } = execution.row;
  const isOpen = state === ExecutionState.RUNNING || state === ExecutionState.OFFERED;
  const isNews = state === ExecutionState.LOST && !error.includes(ending(execution));
  if (isOpen || isNews) await finisher.lost(execution, why);
}

const ending = ({ id }: LiveExecution): string => `csc admin resolve ${id}`;

/** The executor does not have it. */
async function giveUp(ports: ReconcilePorts, peer: Peer, execution: LiveExecution): Promise<void> {
  if (isUnstarted(execution)) return giveUpOffer(ports, peer, execution);
  const why = `executor ${peer.name} is back and does not know this execution: was its state directory emptied, or restored from a backup? Only its owners end it (${ending(execution)})`;
  await loseForGood(ports, execution, why);
}

function isUnstarted({ row: { state, started_at: startedAt } }: LiveExecution): boolean {
  return state === ExecutionState.OFFERED || (state === ExecutionState.LOST && startedAt === null);
}

/**
 * It has not started what it was offered. An honest one never will: it redeems nothing that came over an earlier
 * connection, and its journal, which is still the one that the ticket is for, would have it. Then another may get it, under a
 * new ticket, also after it was LOST. As the executor may be another, the old ticket is kept like a withdrawn one: what it
 * starts all the same is evidence.
 */
async function giveUpOffer(
  { scheduler, finisher, clock }: ReconcilePorts,
  peer: Peer,
  execution: LiveExecution,
): Promise<void> {
  const { state, ticket_id: ticketId, ticket_epoch: epoch, queue_deadline: queueEnds } = execution.row;
  const withdrawn = ticketId === null ? undefined : { ticket_id: ticketId, executor_id: peer.id };
  const isLost = state === ExecutionState.LOST;
  if (peer.wentBack || (epoch ?? peer.epoch) !== peer.epoch) {
    const why = `executor ${peer.name} came back with another journal than it was offered to, and may have run it: have its owners end it (${ending(execution)})`;
    return loseForGood({ finisher }, execution, why);
  }
  // Whose journal is none that can be told from another, or a gate that was restored, cannot say so after so long.
  const isKnown = epoch !== null && epoch !== '';
  const mayWait = queueEnds !== null && new Date(queueEnds) > clock.now();
  const why = `executor ${peer.name} was away, and came back without having started it`;
  if (!isLost || (isKnown && mayWait)) {
    const reason = isLost ? why : 'its executor came back without having started it';
    await scheduler.requeue(execution, reason, { withdrawn });
  } else {
    const isCancelled = execution.cancelGraceMs !== undefined;
    const end = isCancelled ? ExecutionState.CANCELLED : ExecutionState.EXPIRED;
    await finisher.unstarted(execution, end, why, withdrawn);
  }
}

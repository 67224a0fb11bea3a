import { type CscError, isCscError, retryOf } from '@csc-fleet/common/errors';
import { toReceiptError } from '@csc-fleet/common/evidence';
import type { Identity } from '@csc-fleet/common/identity';
import { ExecutionState, type Refused } from '@csc-fleet/common/messages';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import { type Timed, untimed } from '@csc-fleet/common/telemetry';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import type { Finisher } from '../execution/finisher.ts';
import type { Peer } from '../schedule/peer.ts';
import { requirementOf } from '../schedule/requirement.ts';
import type { Scheduler, Turn } from '../schedule/scheduler.ts';
import type { ExecutorKeys } from './executor-keys.ts';
import { findOwn, type ProgressPorts, takeAccepted } from './progress.ts';
import { notCounted, verifyExecutorReceipt } from './receipts.ts';

export interface RefusalPorts extends ProgressPorts {
  readonly executions: Pick<Executions, 'openById'>;
  readonly scheduler: Pick<Scheduler, 'offers' | 'peers' | 'rests' | 'breakers' | 'requeue' | 'place'>;
  readonly finisher: Pick<Finisher, 'withReceipt' | 'unstarted'>;
  readonly keys: Pick<ExecutorKeys, 'ringOf'>;
  readonly onNotice: (message: LogMessage<'info'>, details: LogFields) => void;
  /** Absent: nobody asks how long it takes. */
  readonly timed?: Timed<'receipt'>;
}

// How long an executor is left alone after such a refusal.
const restMs = 5_000;

/** Whether another attempt may succeed, here or elsewhere, as nobody has signed an end of this one. */
function retryAfter({ reason, receiptJson }: Refused, isWithdrawn: boolean): ReturnType<typeof retryOf> {
  if (receiptJson.length > 0) return 'no';
  // The host takes this gate for nobody that it knows, or its journal is another one by now: that is its own affair.
  if (reason === 'TICKET_INVALID') return 'elsewhere';
  // Only this gate withdraws: a host that says so by itself gets no second offer.
  return reason === 'TICKET_REVOKED' && !isWithdrawn ? 'no' : retryOf(reason);
}

/** What is to become of a refusal. */
export interface TakenRefusal {
  /**
   * Writes it down. May be called again where the store took no writes, and leaves alone what has become of the execution
   * meanwhile, an offer to the same executor too.
   */
  readonly write: () => Promise<void>;
  /** Why the receipt that came with it does not count. */
  readonly fault?: CscError;
}

/**
 * The executor will not run what it was offered: somebody else may, or that is its end. Counts against the executor what
 * does.
 */
export function takeRefusal(
  ports: RefusalPorts,
  executor: Identity,
  peer: Peer,
  refused: Refused,
): TakenRefusal {
  const { executions, scheduler } = ports;
  const execution = findOwn(executions, executor, refused.executionId);
  if (execution === undefined || execution.terminal || isSuperseded(scheduler, peer))
    return { write: async () => {} };
  const { state, ticket_id: ticketId } = execution.row;
  const { write, fault } = judgeRefusal(ports, executor, { peer, execution, refused });
  return {
    async write() {
      const { row } = execution;
      if (row.state !== state || row.ticket_id !== ticketId || isSuperseded(scheduler, peer)) return;
      await write();
      scheduler.place();
    },
    ...(fault === undefined ? {} : { fault }),
  };
}

// Its executor has connected anew since: what the Hello of that connection does not name is offered again, and this
// refusal is not about that offer.
function isSuperseded({ peers }: Pick<Scheduler, 'peers'>, peer: Peer): boolean {
  const current = peers.get(peer.id);
  return current !== undefined && current !== peer;
}

interface Refusal {
  readonly peer: Peer;
  readonly execution: LiveExecution;
  readonly refused: Refused;
}

function judgeRefusal(
  ports: RefusalPorts,
  executor: Identity,
  { peer, execution, refused }: Refusal,
): TakenRefusal {
  const { scheduler } = ports;
  const { executionId, reason } = refused;
  // Redeemed before: it runs there, and its receipt will come.
  if (reason === 'TICKET_REPLAYED') return { write: async () => takeAccepted(ports, execution, []) };
  peer.assigned.delete(executionId);
  const isWithdrawn = scheduler.offers.find(executionId)?.isWithdrawn ?? false;
  const { state, ticket_id: ticketId } = execution.row;
  // A Hello named it while its sandbox was built: what became of that is said now.
  const isLate = state === ExecutionState.RUNNING && execution.isUndecided;
  const withdrawn = isLate && ticketId !== null ? { ticket_id: ticketId, executor_id: peer.id } : undefined;
  const retry = state === ExecutionState.OFFERED || isLate ? retryAfter(refused, isWithdrawn) : 'no';
  const turn = retry === 'elsewhere' ? passOver(ports, peer, execution, refused) : undefined;
  if (turn !== undefined) {
    const why = `executor ${peer.name} could not take it: ${refused.reason}: ${refused.message}`;
    return { write: () => scheduler.requeue(execution, toReceiptError(why), { turn, withdrawn }) };
  }
  if (retry === 'later' || retry === 'ticket') {
    rest(scheduler, peer, isLate ? undefined : reason);
    const why = `executor ${peer.name} does not take it now: ${reason}`;
    return { write: () => scheduler.requeue(execution, why, { withdrawn }) };
  }
  return block(ports, executor, execution, refused);
}

/**
 * The host is at fault, and is passed over for a while, and the execution waits for another, or for the first that is well
 * again. Undefined where it may not wait and no other could run it, so that the refusal is its end.
 * Counted for those only whose executions met it; and of one execution once a host, as it may be what makes them fail: where
 * a host takes others of its principal, it waits aside, and holds up none of them.
 */
function passOver(
  { scheduler, clock, onNotice }: RefusalPorts,
  peer: Peer,
  execution: LiveExecution,
  { reason, message, lasting }: Refused,
): Turn | undefined {
  const { principal, queue_deadline: queueEnds } = execution.row;
  const { peers, breakers } = scheduler;
  const why = toReceiptError(`${reason}: ${message}`);
  const isNew = !execution.faults.delete(peer.id);
  const isLasting = lasting || retryOf(reason) !== 'elsewhere';
  execution.faults.set(peer.id, { why: briefly(why), isLasting });
  const goesOn = peers.hasOther(requirementOf(execution.row), new Set(execution.faults.keys()));
  // For one whose fault passes by itself: what an owner has to mend first is not waited for.
  const mayPass = [...execution.faults.values()].some((fault) => !fault.isLasting);
  const mayWait = queueEnds !== null && new Date(queueEnds) > clock.now() && mayPass;
  if (!goesOn && !mayWait) return undefined;
  if (!isNew && !breakers.isStanding(peer.id, principal)) return 'aside';
  const forMs = breakers.trip(peer.id, principal, { why });
  onNotice('an executor had to refuse for a fault of its own, and is passed over for a while', {
    executor: peer.id,
    principal,
    executionId: execution.id,
    why,
    forMs,
  });
  return isNew && goesOn ? 'first' : 'last';
}

// Kept of each host for as long as the execution waits.
const keptLength = 256;

function briefly(why: string): string {
  return [...why].slice(0, keptLength).join('');
}

// Otherwise it would be offered the same again, and refuse it again, as fast as both can.
// What it says of an offer of an earlier connection says nothing of this one.
function rest({ rests }: Pick<Scheduler, 'rests'>, peer: Peer, reason: string | undefined): void {
  if (reason === 'DRAINING') peer.draining = true;
  else rests.take(peer.id, restMs);
}

/** Ends it with the executor's own receipt, or with the gate's where the executor gives none that counts. */
function block(
  { finisher, keys, timed = untimed }: RefusalPorts,
  executor: Identity,
  execution: LiveExecution,
  refused: Refused,
): TakenRefusal {
  const error = toReceiptError(`${refused.reason}: ${refused.message}`);
  const unstarted = (): Promise<void> => {
    // Nobody has signed that it was refused, and its end was asked for before.
    const isCancelled = execution.cancelGraceMs !== undefined;
    const state = isCancelled ? ExecutionState.CANCELLED : ExecutionState.BLOCKED;
    return finisher.unstarted(execution, state, error);
  };
  if (refused.receiptJson.length === 0) return { write: unstarted };
  try {
    verifyExecutorReceipt(refused, execution.row, keys.ringOf(executor.uri));
  } catch (cause) {
    if (!isCscError(cause)) throw cause;
    return { write: unstarted, fault: notCounted(executor, execution.id, cause) };
  }
  const outcome = { state: ExecutionState.BLOCKED, error };
  return { write: () => timed('receipt', () => finisher.withReceipt(execution, outcome, refused)) };
}

import type { Clock } from '@csc-fleet/common/encoding';
import { toReceiptError } from '@csc-fleet/common/evidence';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import type { Finisher } from '../execution/finisher.ts';
import { executorName } from '../execution/row.ts';
import type { Absences } from './absences.ts';
import { nextStep, type SentOffer, toOfferTimes } from './offers.ts';
import { requirementOf } from './requirement.ts';
import type { Scheduler } from './scheduler.ts';

export interface SweepPorts {
  readonly executions: Pick<Executions, 'moving' | 'openById'>;
  readonly scheduler: Pick<
    Scheduler,
    'awaitsSubmitter' | 'offers' | 'peers' | 'bindings' | 'dropGone' | 'requeue' | 'restoreLine' | 'withdraw'
  >;
  readonly finisher: Pick<Finisher, 'unstarted' | 'lost'>;
  readonly absences: Pick<Absences, 'of' | 'forgetReturned'>;
  readonly clock: Clock;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonicMs: () => number;
  readonly limits: {
    /** For an executor's answer to an offer. */
    readonly offerDeadlineSec: number;
  };
  /** How long an executor may be away before what it had is LOST. */
  readonly executorLostAfterSec: number;
  readonly onError: (error: unknown) => void;
  readonly onNotice: (message: LogMessage<'info'>, details: LogFields) => void;
}

const sweepEveryMs = 1_000;

/** Sweeps once a second, until what it returns is called. */
export function startSweeping(ports: SweepPorts): () => void {
  let sweeping = false;
  const timer = setInterval(() => {
    if (sweeping) return;
    sweeping = true;
    sweep(ports)
      .catch(ports.onError)
      .finally(() => {
        sweeping = false;
      });
  }, sweepEveryMs);
  timer.unref();
  return () => clearInterval(timer);
}

/** Ends what has waited too long: for an approval, for an executor, or for an executor that is gone. */
async function sweep(ports: SweepPorts): Promise<void> {
  const { executions, scheduler, finisher, absences, clock } = ports;
  const now = clock.now();
  await sweepOffers(ports);
  absences.forgetReturned();
  scheduler.dropGone();
  scheduler.restoreLine();
  await sweepBindings(ports);
  for (const execution of [...executions.moving()]) {
    const { state, decision_expires_at: decisionEnds, queue_deadline: queueEnds } = execution.row;
    if (state === ExecutionState.AWAITING_APPROVAL && new Date(decisionEnds) <= now) {
      await finisher.unstarted(
        execution,
        ExecutionState.EXPIRED,
        `no approval came until ${decisionEnds}, when it could not be started any more`,
      );
    } else if (state === ExecutionState.QUEUED && queueEnds !== null && new Date(queueEnds) <= now) {
      const why = whyExpired(scheduler, execution);
      if (!scheduler.withdraw(execution.id)) continue;
      await finisher.unstarted(execution, ExecutionState.EXPIRED, why);
    } else if (state === ExecutionState.OFFERED || state === ExecutionState.RUNNING) {
      await sweepAway(ports, execution);
    }
  }
}

// As many hosts as are shown of what they refused.
const shownFaults = 8;

function whyExpired(
  scheduler: Pick<Scheduler, 'peers' | 'awaitsSubmitter'>,
  execution: LiveExecution,
): string {
  const { peers } = scheduler;
  if (scheduler.awaitsSubmitter(execution.id))
    return 'its submitter did not come in time to name the host that it runs on: csc get ID --follow does, wherever it was submitted';
  const requirement = requirementOf(execution.row);
  const whyNone = peers.whyNone(requirement);
  const said = lastSaid(execution);
  const last = said === '' || said === whyNone ? '' : `; the last that was said: ${said}`;
  const faults = [...execution.faults]
    .slice(-shownFaults)
    .map(([id, { why }]) => `${executorName(id)}: ${why}`);
  const more = faults.length === 0 ? last : `; what hosts had to refuse it for: ${faults.join('; ')}`;
  const why = whyNone ?? (faults.length === 0 ? peers.whyPassedOver(requirement) : undefined);
  return toReceiptError(
    why === undefined ? `no executor was free in time${more}` : `no executor took it in time: ${why}${more}`,
  );
}

// Why it is in the queue, or in it again.
function lastSaid({ events }: LiveExecution): string {
  const queued = events.findLast(({ event }) => event?.$case === 'queued')?.event;
  return queued?.$case === 'queued' ? queued.value.reason : '';
}

/**
 * What its submitter has not bound to its host in time waits for that person or job, who may have left while others had to agree:
 * the seat is for others, and it gets one again once its submitter is there.
 */
async function sweepBindings({ scheduler, executions, monotonicMs }: SweepPorts): Promise<void> {
  for (const { executionId, peer } of scheduler.bindings.overdue(monotonicMs())) {
    const execution = executions.openById(executionId);
    if (!scheduler.withdraw(executionId) || execution === undefined) continue;
    const why = `its submitter was not there to name ${peer.name}: csc get ID --follow names the host that it is placed on`;
    await scheduler.requeue(execution, why, { turn: 'submitter' });
  }
}

// A restart of the host's service is over by then, and nobody is to be told of that.
const tellAwayAfterMs = 10_000;

async function sweepAway(ports: SweepPorts, execution: LiveExecution): Promise<void> {
  const { finisher, absences, clock, executorLostAfterSec } = ports;
  const executorId = executorName(execution.row.executor_id);
  const away = absences.of(execution.row.executor_id ?? '');
  if (away === undefined) return;
  if (away.forMs >= executorLostAfterSec * 1000) {
    const why = `executor ${executorId} has been away for ${executorLostAfterSec} s; it may still come back with the receipt`;
    await finisher.lost(execution, why);
  } else if (away.forMs >= tellAwayAfterMs && !wasTold(execution)) {
    const { since, lostAt } = away;
    await execution.advance(clock.now(), {
      happened: [{ $case: 'away', value: { executorId, since, lostAt } }],
    });
  }
}

// Once: it is kept in memory and for ever, and an executor can come and go as often as it likes.
function wasTold({ events }: LiveExecution): boolean {
  return events.some(({ event }) => event?.$case === 'away');
}

/** Withdraws offers that are not answered in time, and places them elsewhere once that is safe. */
async function sweepOffers(ports: SweepPorts): Promise<void> {
  const { scheduler, executions } = ports;
  for (const offer of scheduler.offers.all()) {
    const execution = executions.openById(offer.executionId);
    if (execution === undefined || !isUnanswered(execution, offer))
      scheduler.offers.remove(offer.executionId);
    // Gone: what it says when it comes back decides, or nobody does.
    else if (scheduler.peers.get(offer.peer.id) === offer.peer) await takeStep(ports, execution, offer);
  }
}

function isUnanswered({ row }: LiveExecution, { ticketId }: SentOffer): boolean {
  return row.state === ExecutionState.OFFERED && row.ticket_id === ticketId;
}

async function takeStep(ports: SweepPorts, execution: LiveExecution, offer: SentOffer): Promise<void> {
  const { limits, monotonicMs } = ports;
  const step = nextStep(offer, monotonicMs(), toOfferTimes(limits.offerDeadlineSec));
  if (step === 'withdraw') await withdraw(ports, execution, offer);
  if (step === 'ask') offer.peer.ask();
  if (step === 'replace') await replace(ports, execution, offer);
}

async function withdraw(
  { clock, limits, onNotice }: SweepPorts,
  execution: LiveExecution,
  offer: SentOffer,
): Promise<void> {
  const { executionId, peer } = offer;
  offer.isWithdrawn = true;
  peer.unanswered.add(executionId);
  peer.send({ $case: 'withdraw', value: { executionId } });
  onNotice('an executor does not answer its offers, and gets no more until it does', {
    executor: peer.id,
    executionId,
  });
  const reason = `executor ${peer.name} has not answered for ${limits.offerDeadlineSec} s: another gets it once this one's ticket is over`;
  await execution.advance(clock.now(), {
    happened: [{ $case: 'queued', value: { position: 0, reason } }],
  });
}

async function replace({ scheduler }: SweepPorts, execution: LiveExecution, offer: SentOffer): Promise<void> {
  const { peer, ticketId } = offer;
  scheduler.offers.remove(offer.executionId);
  peer.assigned.delete(offer.executionId);
  const reason = `executor ${peer.name} never answered, and its ticket is over`;
  await scheduler.requeue(execution, reason, { withdrawn: { ticket_id: ticketId, executor_id: peer.id } });
}

import { ExecutionState } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import type { GateContext } from '../service/context.ts';
import { nextStep, type SentOffer, toOfferTimes } from './offers.ts';

/** Withdraws offers that are not answered in time, and places them elsewhere once that is safe. */
export async function sweepOffers(gate: GateContext): Promise<void> {
  const { scheduler, executions } = gate;
  for (const offer of scheduler.offers.all()) {
    const execution = executions.openById(offer.executionId);
    if (execution === undefined || !isUnanswered(execution, offer))
      scheduler.offers.remove(offer.executionId);
    // Gone: what it says when it comes back decides, or nobody does.
    else if (scheduler.peers.get(offer.peer.id) === offer.peer) await take(gate, execution, offer);
  }
}

function isUnanswered({ row }: LiveExecution, { ticketId }: SentOffer): boolean {
  return row.state === ExecutionState.OFFERED && row.ticket_id === ticketId;
}

async function take(gate: GateContext, execution: LiveExecution, offer: SentOffer): Promise<void> {
  const { limits, monotonicMs } = gate;
  const step = nextStep(offer, monotonicMs(), toOfferTimes(limits.offerDeadlineSec));
  if (step === 'withdraw') await withdraw(gate, execution, offer);
  if (step === 'ask') offer.peer.ask();
  if (step === 'replace') await replace(gate, execution, offer);
}

async function withdraw(gate: GateContext, execution: LiveExecution, offer: SentOffer): Promise<void> {
  const { executionId, peer } = offer;
  offer.isWithdrawn = true;
  peer.unanswered.add(executionId);
  peer.send({ $case: 'withdraw', value: { executionId } });
  gate.onNotice('an executor does not answer its offers, and gets no more until it does', {
    executor: peer.id,
    executionId,
  });
  const reason = `executor ${peer.name} has not answered for ${gate.limits.offerDeadlineSec} s: another gets it once this one's ticket is over`;
  await execution.advance(gate.clock.now(), {
    happened: [{ $case: 'queued', value: { position: 0, reason } }],
  });
}

async function replace(gate: GateContext, execution: LiveExecution, offer: SentOffer): Promise<void> {
  const { peer, ticketId } = offer;
  gate.scheduler.offers.remove(offer.executionId);
  peer.assigned.delete(offer.executionId);
  const reason = `executor ${peer.name} never answered, and its ticket is over`;
  await gate.scheduler.requeue(execution, reason, { ticket_id: ticketId, executor_id: peer.id });
}

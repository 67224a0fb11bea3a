import type { Peer } from './peer.ts';

/** An offer that has left, and of which it is not known yet whether its ticket was redeemed. */
export interface SentOffer {
  readonly executionId: string;
  readonly peer: Peer;
  readonly ticketId: string;
  /** Milliseconds of the gate's monotonic clock, from before the ticket was made. */
  readonly at: number;
  /** It was not answered in time: no host is to start it any more, and this one is offered nothing else. */
  isWithdrawn: boolean;
}

/** Offers under way, by execution. */
export class Offers {
  readonly #byExecution = new Map<string, SentOffer>();

  add(offer: Omit<SentOffer, 'isWithdrawn'>): void {
    this.#byExecution.set(offer.executionId, { ...offer, isWithdrawn: false });
  }

  find(executionId: string): SentOffer | undefined {
    return this.#byExecution.get(executionId);
  }

  remove(executionId: string): void {
    this.#byExecution.delete(executionId);
  }

  all(): readonly SentOffer[] {
    return [...this.#byExecution.values()];
  }
}

/** How long an offer may be under way, in milliseconds. */
export interface OfferTimes {
  /** For its answer. */
  readonly deadlineMs: number;
  /** From not_before to expires_at of its ticket. */
  readonly ticketLifeMs: number;
}

// A host's clock may be 5 s behind the gate's (openTicket), and a ticket that it redeems in its last moment is not
// acknowledged before the host's disk has it.
const marginMs = 7_000;

/** The times of a gate's offers. */
export function toOfferTimes(offerDeadlineSec: number): OfferTimes {
  // Its ticket need not outlive the answer for long: the sooner it ends, the sooner another host may have the offer.
  return { deadlineMs: offerDeadlineSec * 1000, ticketLifeMs: 2 * offerDeadlineSec * 1000 };
}

/**
 * What is due for an offer that has no answer. It is safe to replace it only once its ticket is over on every clock
 * *and* the host was heard after that: a host says what it has redeemed before it says anything else, so that one which
 * is merely cut off, and may be running it, keeps it.
 */
export function nextStep(
  { at, isWithdrawn, peer }: SentOffer,
  now: number,
  { deadlineMs, ticketLifeMs }: OfferTimes,
): 'wait' | 'withdraw' | 'ask' | 'replace' {
  if (!isWithdrawn) return now - at >= deadlineMs ? 'withdraw' : 'wait';
  const over = at + ticketLifeMs + marginMs;
  if (now < over) return 'wait';
  return peer.heardAt >= over ? 'replace' : 'ask';
}

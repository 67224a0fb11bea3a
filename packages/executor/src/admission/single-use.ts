import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, parseTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import type { Journal, TicketUse } from '../journal/index.ts';
import type { SubmittedTicket } from './submission.ts';

/**
 * Throws TICKET_REPLAYED or TICKET_EXPIRED early, before anything is built for it; what decides is the journal's `redeem`
 * or `refuse`.
 */
export function checkUnused(
  { ticket, submission }: Pick<SubmittedTicket, 'ticket' | 'submission'>,
  journal: Pick<Journal, 'findObjection'>,
): void {
  const objection = journal.findObjection(toUse(ticket, submission));
  if (objection !== undefined) throw objection;
}

/** What the journal knows a ticket, and what was submitted for it, by. */
export function toUse(
  { ticket_id, execution_id, not_before, expires_at }: ExecutionTicket,
  submission?: TicketUse['submission'],
): TicketUse {
  return {
    ...(submission === undefined ? {} : { submission }),
    ticketId: ticket_id,
    executionId: execution_id,
    notBefore: toDate(not_before),
    expiresAt: toDate(expires_at),
  };
}

// The schema has let nothing else through; if it ever did, the end of time before its beginning is refused.
function toDate(text: string): Date {
  return parseTimestamp(text) ?? new Date(0);
}

/** Milliseconds until a ticket begins, by this host's clock; 0 where it has. */
export function msUntilTicket(ticket: ExecutionTicket, clock: Clock): number {
  return Math.max(toUse(ticket).notBefore.getTime() - clock.now().getTime(), 0);
}

/**
 * Waits until a ticket has begun, for as long as openTicket lets a gate's clock be ahead. Nothing is redeemed before:
 * then whatever this journal has used began before now, and a journal that is lost has used nothing that begins after
 * its successor does. Rejects with TICKET_INVALID where the clock went back meanwhile.
 */
export async function awaitTicket(ticket: ExecutionTicket, clock: Clock): Promise<void> {
  const waitMs = msUntilTicket(ticket, clock);
  if (waitMs === 0) return;
  await sleep(waitMs + 1);
  if (msUntilTicket(ticket, clock) === 0) return;
  throw new CscError(
    'TICKET_INVALID',
    `the ticket is not valid before ${ticket.not_before}; check the clocks`,
  );
}

import { parseTimestamp } from '@csc-fleet/common/encoding';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import type { Journal, TicketUse } from '../journal/index.ts';

/**
 * Throws TICKET_REPLAYED or TICKET_EXPIRED early, before anything is built for it; what decides is the journal's `redeem`
 * or `refuse`.
 */
export function checkUnused(ticket: ExecutionTicket, journal: Journal): void {
  const objection = journal.findObjection(toUse(ticket));
  if (objection !== undefined) throw objection;
}

/** What the journal knows a ticket by. */
export function toUse({ ticket_id, execution_id, not_before, expires_at }: ExecutionTicket): TicketUse {
  return {
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

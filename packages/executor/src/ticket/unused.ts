import { CscError } from '@csc-fleet/common/errors';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import type { Journal } from '../journal/index.ts';

/** Throws TICKET_REPLAYED early, before anything is built for it; what decides is the journal's `redeem`. */
export function checkUnused(ticket: ExecutionTicket, journal: Journal): void {
  if (!journal.isRedeemed(ticket.ticket_id, ticket.execution_id)) return;
  throw new CscError(
    'TICKET_REPLAYED',
    'this ticket has been redeemed before, and its command was started once',
  );
}

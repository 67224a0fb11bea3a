import { setTimeout as sleep } from 'node:timers/promises';
import type { CountedApproval } from '@csc-fleet/common/approval';
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
  { ticket, claimed }: Pick<SubmittedTicket, 'ticket' | 'claimed'>,
  journal: Pick<Journal, 'findObjection'>,
): void {
  const objection = journal.findObjection(toUse(ticket, claimed));
  if (objection !== undefined) throw objection;
}

/** What the journal knows a ticket, and what was submitted for it, by. */
export function toUse(
  { ticket_id, execution_id, not_before, expires_at }: ExecutionTicket,
  claimed?: TicketUse['submission'],
): TicketUse {
  return {
    ...(claimed === undefined ? {} : { submission: claimed }),
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

/** A ticket, the submission that it was minted for, and the approvals that it uses up. */
export interface Timed {
  readonly ticket: ExecutionTicket;
  /** Absent: there is none that counts. */
  readonly submission?: { readonly notBefore: Date } | undefined;
  /** What people have signed of it. Absent: not looked at yet. */
  readonly approvals?: readonly Pick<CountedApproval, 'scope' | 'approved_at'>[] | undefined;
}

/** Milliseconds until all have begun, by this host's clock; 0 where they have. */
export function msUntilBegun({ ticket, submission, approvals = [] }: Timed, clock: Clock): number {
  const signed = approvals.flatMap(({ scope, approved_at: at }) =>
    scope === 'single_execution' && at !== undefined ? [toDate(at).getTime()] : [],
  );
  const begins = Math.max(
    toDate(ticket.not_before).getTime(),
    submission?.notBefore.getTime() ?? 0,
    ...signed,
  );
  return Math.max(begins - clock.now().getTime(), 0);
}

/**
 * Waits until ticket, submission and approvals have begun, for as long as openTicket, openSubmission and verifyApproval
 * let a gate's, a submitter's and an approver's clock be ahead. Nothing is redeemed before: then whatever this journal
 * has used began before now, and a journal that is lost has used nothing that begins after its successor does. Rejects
 * with TICKET_EXPIRED where the clock went back meanwhile.
 */
export async function awaitBegin(timed: Timed, clock: Clock): Promise<void> {
  const waitMs = msUntilBegun(timed, clock);
  if (waitMs === 0) return;
  await sleep(waitMs + 1);
  if (msUntilBegun(timed, clock) === 0) return;
  throw new CscError(
    'TICKET_EXPIRED',
    `the ticket, or what was signed for it, is not valid before ${new Date(clock.now().getTime() + msUntilBegun(timed, clock)).toISOString()}; check the clocks`,
  );
}

import { createHash } from 'node:crypto';
import { CscError } from '@csc-fleet/common/errors';
import type { TicketUse } from './journal.ts';
import type { Statements } from './statements.ts';

/** What a journal can vouch for, in milliseconds since 1970. */
interface Memory {
  /** A ticket that began before may have been used by a journal that is lost. */
  readonly bornAt: number;
  /** Of a ticket that ended up to here the row may be gone. */
  readonly floor: number;
  /** The same of approvals. */
  readonly approvalsFloor: number;
}

/** As it is now: another process that shares the journal may have moved it on. */
export function readMemory(statements: Statements): Memory {
  const row = statements.memory.get();
  return {
    bornAt: Number(row?.['born_at']),
    floor: Number(row?.['floor']),
    approvalsFloor: Number(row?.['approvals_floor']),
  };
}

function isUsed(statements: Statements, { ticketId, executionId }: TicketUse): boolean {
  return (
    statements.isUsed.get(ticketId, executionId) !== undefined ||
    isSpent(statements, spentId('execution', executionId)) ||
    isSpent(statements, spentId('ticket', ticketId))
  );
}

// A submission is used once, under whatever ticket, and is remembered for ever: its nonce has no other end.
function isSubmissionUsed(statements: Statements, { submission }: TicketUse): boolean {
  return submission !== undefined && isSpent(statements, submissionId(submission));
}

function isSpent(statements: Statements, id: Uint8Array): boolean {
  return statements.isSpent.get(id) !== undefined;
}

/** Why a ticket cannot be used; undefined where it can. Nobody but the journal knows this. */
export function findObjection(statements: Statements, ticket: TicketUse): CscError | undefined {
  if (isUsed(statements, ticket)) {
    const message =
      'this ticket, or another one for its execution, has been used before: there is one outcome of it';
    return new CscError('TICKET_REPLAYED', message);
  }
  if (isSubmissionUsed(statements, ticket)) {
    const message = 'this submission has been used on this host before: there is one outcome of it';
    return new CscError('SUBMISSION_REPLAYED', message);
  }
  const { bornAt, floor } = readMemory(statements);
  if (ticket.notBefore.getTime() < bornAt) {
    const message = `this host's journal began at ${toText(bornAt)}, after the ticket did: nobody knows any more whether the ticket was used. Mint a new one; where that fails too, set the clocks of gate and host`;
    return new CscError('TICKET_EXPIRED', message);
  }
  if (ticket.expiresAt.getTime() > floor) return undefined;
  const message = `this host has forgotten tickets that ended up to ${toText(floor)}, and this is one. Mint a new one; where that fails too, a clock has gone back: set it`;
  return new CscError('TICKET_EXPIRED', message);
}

function toText(time: number): string {
  return new Date(time).toISOString();
}

/** What is kept of an id for ever. That two share it takes 2^64 tries, and then one of them is refused. */
export function spentId(kind: 'execution' | 'ticket', id: string): Uint8Array {
  // Execution ids are hashed as they are, as journals have them that are there.
  const text = kind === 'ticket' ? `ticket\0${id}` : id;
  return createHash('sha256').update(text).digest().subarray(0, 16);
}

/** The same of a submission, whose nonce is its principal's own. */
export function submissionId({ principal, nonce }: NonNullable<TicketUse['submission']>): Uint8Array {
  return createHash('sha256').update(`submission\0${principal}\0${nonce}`).digest().subarray(0, 16);
}

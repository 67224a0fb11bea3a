import type { KeyRing } from '../crypto/index.ts';
import { CscError, isCscError, orThrow } from '../errors/index.ts';
import { clockSkewMs, type ExecutionTicket, maxTicketLifeMs, parseTicket } from '../ticket/index.ts';
import { verifyArtifact } from './artifact.ts';
import { checkLife, type LifeRules } from './life.ts';

/** What a ticket is held against. */
export interface TicketContext {
  /** The gate keys that this host trusts. */
  readonly keys: KeyRing;
  /** This executor's id. */
  readonly audience: string;
  readonly now: Date;
  /** Of the contract that came with the ticket; hex, in either case. */
  readonly contractSha256: string;
}

/**
 * A ticket that this executor may redeem now for this contract; that it is redeemed only once is for the journal to
 * see to. Throws TICKET_INVALID (malformed, not signed by a trusted key, a life over 60 s, not valid yet),
 * WRONG_AUDIENCE, TICKET_EXPIRED, CONTRACT_HASH_MISMATCH.
 */
export function openTicket(bytes: Uint8Array, context: TicketContext): ExecutionTicket {
  const ticket = orThrow(parseTicket(bytes), 'TICKET_INVALID', 'the ticket');
  checkSignature(ticket, context.keys);
  if (ticket.audience !== context.audience)
    throw new CscError('WRONG_AUDIENCE', 'the ticket is for another executor');
  checkLife(ticket, context.now, life);
  if (ticket.contract_sha256.toLowerCase() !== context.contractSha256.toLowerCase()) {
    throw new CscError('CONTRACT_HASH_MISMATCH', 'the contract is not the one that the ticket is for');
  }
  return ticket;
}

function checkSignature(ticket: ExecutionTicket, keys: KeyRing): void {
  try {
    verifyArtifact(ticket, keys);
  } catch (error) {
    if (!isCscError(error)) throw error;
    throw new CscError('TICKET_INVALID', `the ticket was refused: ${error.message}`, { cause: error });
  }
}

function invalid(why: string): CscError {
  return new CscError('TICKET_INVALID', `the ticket was refused: ${why}`);
}

const life: LifeRules = {
  longest: { ms: maxTicketLifeMs, words: '60 seconds' },
  earlyMs: clockSkewMs,
  lateMs: 0,
  expired: (at) => new CscError('TICKET_EXPIRED', `the ticket expired at ${at}; check the clocks`),
  invalid,
};

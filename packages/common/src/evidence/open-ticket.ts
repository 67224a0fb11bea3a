import type { KeyRing } from '../crypto/index.ts';
import { parseTimestamp } from '../encoding/index.ts';
import { CscError, isCscError, orThrow } from '../errors/index.ts';
import { clockSkewMs, type ExecutionTicket, maxTicketLifeMs, parseTicket } from '../ticket/index.ts';
import { verifyArtifact } from './artifact.ts';

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
  checkTimes(ticket, context.now);
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

function checkTimes(ticket: ExecutionTicket, now: Date): void {
  const notBefore = time(ticket.not_before);
  const expiresAt = time(ticket.expires_at);
  const signedAt = time(ticket.signature.signed_at);
  if (expiresAt <= notBefore) throw invalid('it expires before it begins');
  if (expiresAt - notBefore > maxTicketLifeMs) throw invalid('its life is longer than 60 seconds');
  if (now.getTime() >= expiresAt)
    throw new CscError('TICKET_EXPIRED', `the ticket expired at ${ticket.expires_at}; check the clocks`);
  if (now.getTime() < notBefore - clockSkewMs)
    throw invalid(`it is not valid before ${ticket.not_before}; check the clocks`);
  // A key's validity is judged at signed_at, so that it must not be dated back to when an old key was valid.
  if (signedAt < notBefore - clockSkewMs || signedAt > expiresAt)
    throw invalid('it was not signed when it begins');
}

function time(text: string): number {
  return parseTimestamp(text)?.getTime() ?? Number.NaN;
}

function invalid(why: string): CscError {
  return new CscError('TICKET_INVALID', `the ticket was refused: ${why}`);
}

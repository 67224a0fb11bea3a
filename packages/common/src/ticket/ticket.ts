import type * as z from 'zod';
import { type KeyRing, verifyArtifact } from '../crypto/index.ts';
import { type JsonValue, parseTimestamp } from '../encoding/index.ts';
import { CscError, isCscError, orThrow, type Parsed } from '../errors/index.ts';
import { parseArtifact, validate } from '../schema/index.ts';
import { ticketSchema } from './schema.ts';

/** A gate's permission to one executor to start one contract once (protocol §9). */
export type ExecutionTicket = z.infer<typeof ticketSchema>;
/** The limits and options in effect for one execution. */
export type Grant = ExecutionTicket['grant'];
/** What a gate signs. */
export type UnsignedTicket = Omit<ExecutionTicket, 'signature'>;

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

/** Milliseconds from not_before to expires_at, at most. */
export const maxTicketLifeMs = 60_000;

/** Milliseconds that a gate's clock may be ahead of a host's. */
export const clockSkewMs = 5_000;
const maxBytes = 65_536;

/** Reads a ticket from its JSON text. The signature is not verified here: see openTicket. */
export function parseTicket(bytes: Uint8Array): Parsed<ExecutionTicket> {
  return parseArtifact(bytes, maxBytes, ticketFromJson);
}

/** Validates a ticket that is parsed already. */
export function ticketFromJson(value: JsonValue): Parsed<ExecutionTicket> {
  return validate(ticketSchema, value);
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

import type * as z from 'zod';
import { artifactBytes, type JsonValue } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import { parseArtifact, validate } from '../schema/index.ts';
import { ticketSchema } from './schema.ts';

/** A gate's permission to one executor to start one contract once (protocol §9). */
export type ExecutionTicket = z.infer<typeof ticketSchema>;
/** The limits and options in effect for one execution. */
export type Grant = ExecutionTicket['grant'];
/** What a gate signs. */
export type UnsignedTicket = Omit<ExecutionTicket, 'signature'>;

/** Milliseconds from not_before to expires_at, at most. */
export const maxTicketLifeMs = 60_000;

/** Milliseconds that a gate's clock may be ahead of a host's. */
export const clockSkewMs = 5_000;

/** Reads a ticket from its JSON text. The signature is not verified here: openTicket of evidence/ does that. */
export function parseTicket(bytes: Uint8Array): Parsed<ExecutionTicket> {
  return parseArtifact(bytes, artifactBytes.ticket, ticketFromJson);
}

/** Validates a ticket that is parsed already. */
export function ticketFromJson(value: JsonValue): Parsed<ExecutionTicket> {
  return validate(ticketSchema, value);
}

import { type CommandContract, contractSha256, parseContract } from '@csc-fleet/common/contract';
import type { KeyRing } from '@csc-fleet/common/crypto';
import { parseTimestamp } from '@csc-fleet/common/encoding';
import { CscError, isCscError, orThrow } from '@csc-fleet/common/errors';
import { openTicket } from '@csc-fleet/common/evidence';
import type { Offer } from '@csc-fleet/common/messages';
import { type ExecutionTicket, parseTicket } from '@csc-fleet/common/ticket';
import { offerLimits } from '../service/limits.ts';

/** What an offer's ticket is held against. */
export interface TicketChecks {
  readonly gateKeys: KeyRing;
  readonly executorId: string;
  readonly now: Date;
}

/** The contract of an offer. Throws CONTRACT_INVALID with every fault. */
export function readOfferedContract(offer: Offer): CommandContract {
  return orThrow(parseContract(offer.contractJson), 'CONTRACT_INVALID', 'the contract');
}

/** The ticket of an offer, as openTicket of common opens it; it must also be for this very execution. */
export function openOfferedTicket(
  offer: Offer,
  contract: CommandContract,
  checks: TicketChecks,
): ExecutionTicket {
  const ticket = openTicket(offer.ticketJson, {
    keys: checks.gateKeys,
    audience: checks.executorId,
    now: checks.now,
    contractSha256: contractSha256(contract),
  });
  if (ticket.execution_id !== offer.executionId) {
    throw new CscError('TICKET_INVALID', 'the ticket is for another execution than the offer');
  }
  if (ticket.ticket_id.length > offerLimits.idLength) {
    throw new CscError('TICKET_INVALID', `a ticket id has at most ${offerLimits.idLength} characters here`);
  }
  return ticket;
}

/**
 * The ticket of a refused offer where it is genuine, this host's, for this execution and for this very contract, though
 * its time may be over: it is held against the moment that it began. Undefined for any other, of which nothing may be
 * signed: a gate could have one execution refused with a contract that it then runs.
 */
export function genuineTicket(
  offer: Offer,
  contract: CommandContract,
  checks: Omit<TicketChecks, 'now'>,
): ExecutionTicket | undefined {
  const parsed = parseTicket(offer.ticketJson);
  const begins = parsed.ok ? parseTimestamp(parsed.value.not_before) : undefined;
  if (begins === undefined) return undefined;
  try {
    return openOfferedTicket(offer, contract, { ...checks, now: begins });
  } catch (error) {
    if (isCscError(error)) return undefined;
    throw error;
  }
}

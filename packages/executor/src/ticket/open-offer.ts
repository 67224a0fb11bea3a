import { type CommandContract, contractSha256, parseContract } from '@csc-fleet/common/contract';
import type { KeyRing } from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import type { Offer } from '@csc-fleet/common/messages';
import { type ExecutionTicket, openTicket, parseTicket } from '@csc-fleet/common/ticket';

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
  return ticket;
}

/**
 * The ticket of a refused offer where it is genuine: openTicket looks at the time and at the contract only after the
 * signature and the audience, so those two refusals are of genuine tickets.
 */
export function genuineTicket(offer: Offer, error: unknown): ExecutionTicket | undefined {
  if (!(error instanceof CscError)) return undefined;
  if (error.code !== 'TICKET_EXPIRED' && error.code !== 'CONTRACT_HASH_MISMATCH') return undefined;
  const ticket = parseTicket(offer.ticketJson);
  return ticket.ok && ticket.value.execution_id === offer.executionId ? ticket.value : undefined;
}

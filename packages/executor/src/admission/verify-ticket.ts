import type { CommandContract } from '@csc-fleet/common/contract';
import type { KeyRing } from '@csc-fleet/common/crypto';
import { parseTimestamp, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { openTicket } from '@csc-fleet/common/evidence';
import { type ExecutionTicket, parseTicket } from '@csc-fleet/common/ticket';
import { type ClaimedSubmission, type OfferedTicket, offerLimits } from './offer.ts';

/** All that a ticket is believed by: none of it comes from the gate that sent it. */
export interface Trust {
  /** Of the gates whose tickets count here, as the host's owner wrote them down. */
  readonly gateKeys: KeyRing;
  /** The audience that a ticket must name. */
  readonly executorId: string;
  /** Of this host's journal: a ticket for another one may have been used where nobody remembers. */
  readonly epoch: string;
  /** Whether a ticket must name it. False only where gates before 0.2 are trusted as they were. */
  readonly needsEpoch: boolean;
  /** By this host's clock. */
  readonly now: Date;
}

class Genuine {
  protected readonly step = 'genuine';
  readonly contract: CommandContract;
  readonly contractSha256: string;
  readonly ticket: ExecutionTicket;
  readonly verifiedAt: Date;
  readonly claimed: ClaimedSubmission | undefined;

  constructor(
    { contract, contractSha256, claimed }: OfferedTicket,
    ticket: ExecutionTicket,
    verifiedAt: Date,
  ) {
    this.contract = contract;
    this.contractSha256 = contractSha256;
    this.ticket = ticket;
    this.verifiedAt = verifiedAt;
    this.claimed = claimed;
  }
}

/**
 * A gate that this host trusts has signed it: for this host, this execution, just this contract, and now. That the owner
 * allows the contract is not said by it, nor that it was never used.
 */
export type GenuineTicket = Genuine;

/**
 * Holds the ticket of an offer against what this host trusts, as openTicket of common does, which says what it throws;
 * TICKET_INVALID also where it is for another execution than the offer, and TICKET_EXPIRED for one that is good, and has
 * not begun by this host's clock: that may have been set since the gate has heard it last, and the next ticket is in its new
 * time.
 */
export function verifyTicket(offered: OfferedTicket, trust: Trust): GenuineTicket {
  try {
    return new Genuine(offered, openOffered(offered, trust), trust.now);
  } catch (error) {
    const begins = beginsAt(offered);
    if (begins === undefined || begins <= trust.now || !isGenuineAt(offered, trust, begins)) throw error;
    const message = `the ticket is not valid before ${toTimestamp(begins)}; check the clocks`;
    throw new CscError('TICKET_EXPIRED', message, { cause: error });
  }
}

function isGenuineAt(offered: OfferedTicket, trust: Trust, now: Date): boolean {
  try {
    openOffered(offered, { ...trust, now });
    return true;
  } catch (error) {
    if (isCscError(error)) return false;
    throw error;
  }
}

function beginsAt({ ticketJson }: { readonly ticketJson: Uint8Array }): Date | undefined {
  const parsed = parseTicket(ticketJson);
  return parsed.ok ? parseTimestamp(parsed.value.not_before) : undefined;
}

/**
 * The ticket of a refused offer where it is genuine, this host's, for this execution and for this very contract, though
 * its time may be over: it is held against the moment that it began. Undefined for any other, of which nothing may be
 * signed: a gate could have one execution refused with a contract that it then runs.
 */
export function findOnceGenuine(
  offered: Pick<OfferedTicket, 'executionId' | 'ticketJson' | 'contractSha256'>,
  trust: Omit<Trust, 'now'>,
): ExecutionTicket | undefined {
  const begins = beginsAt(offered);
  if (begins === undefined) return undefined;
  try {
    return openOffered(offered, { ...trust, now: begins });
  } catch (error) {
    if (isCscError(error)) return undefined;
    throw error;
  }
}

function openOffered(
  offered: Pick<OfferedTicket, 'executionId' | 'ticketJson' | 'contractSha256'>,
  { gateKeys, executorId, epoch, needsEpoch, now }: Trust,
): ExecutionTicket {
  const ticket = openTicket(offered.ticketJson, {
    keys: gateKeys,
    audience: executorId,
    now,
    contractSha256: offered.contractSha256,
  });
  if (ticket.execution_id !== offered.executionId) {
    throw new CscError('TICKET_INVALID', 'the ticket is for another execution than the offer');
  }
  checkEpoch(ticket, epoch, needsEpoch);
  if (ticket.ticket_id.length > offerLimits.idLength) {
    throw new CscError('TICKET_INVALID', `a ticket id has at most ${offerLimits.idLength} characters here`);
  }
  return ticket;
}

function checkEpoch({ executor_epoch: named }: ExecutionTicket, epoch: string, isNeeded: boolean): void {
  if (named === epoch || (named === undefined && !isNeeded)) return;
  const message =
    named === undefined
      ? 'the ticket does not name the epoch of this host, which it needs where submissions must be signed: is its gate older than this host?'
      : `the ticket is for the epoch ${named} of this host, and this is ${epoch}: its state directory is another one since. Mint a new ticket`;
  throw new CscError('TICKET_INVALID', message);
}

import { type CommandContract, contractSha256, parseContract } from '@csc-fleet/common/contract';
import { orThrow } from '@csc-fleet/common/errors';
import { maxOfferedApprovals, type Offer } from '@csc-fleet/common/messages';

/** What an offer may bring; its contract, ticket and approvals have limits of their own where they are parsed. */
export const offerLimits = {
  /** Of an execution's or a ticket's id, in UTF-16 units: it is kept, and said again, often. */
  idLength: 256,
  approvals: maxOfferedApprovals,
};

// Only `readOffer` makes one: the type is exported, the class is not. So it is with every value of admission.
class Offered {
  protected readonly step = 'offered';
  readonly executionId: string;
  readonly contract: CommandContract;
  /** Computed here, over what will run. */
  readonly contractSha256: string;
  readonly ticketJson: Uint8Array;
  readonly approvalsJson: readonly Uint8Array[];
  /** Empty: none came. */
  readonly submissionJson: Uint8Array;

  constructor({ executionId, ticketJson, approvalsJson, submissionJson }: Offer, contract: CommandContract) {
    this.executionId = executionId;
    this.contract = contract;
    this.contractSha256 = contractSha256(contract);
    this.ticketJson = ticketJson;
    this.approvalsJson = approvalsJson;
    this.submissionJson = submissionJson;
  }
}

/** An offer whose contract can be read. All of it is what the gate says: nothing in it is believed yet. */
export type OfferedTicket = Offered;

/** Throws CONTRACT_INVALID with every fault. */
export function readOffer(offer: Offer): OfferedTicket {
  return new Offered(offer, orThrow(parseContract(offer.contractJson), 'CONTRACT_INVALID', 'the contract'));
}

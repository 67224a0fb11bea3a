import { type CanonicalContract, type CommandContract, readContract } from '@csc-fleet/common/contract';
import { parseTimestamp } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import type { Limits } from '@csc-fleet/common/limits';
import { maxOfferedApprovals, type Offer } from '@csc-fleet/common/messages';
import type { TerminalWish } from '@csc-fleet/common/schema';
import { parseSubmission, submissionSha256 } from '@csc-fleet/common/submission';

/** What an offer may bring; its contract, ticket and approvals have limits of their own where they are parsed. */
export const offerLimits = {
  /** Of an execution's or a ticket's id, in UTF-16 units: it is kept, and said again, often. */
  idLength: 256,
  approvals: maxOfferedApprovals,
};

/**
 * What a submission says of itself, signed or not. It is used up with the ticket, whatever came of it, and a refusal names
 * it: otherwise a gate could have it refused in some way that is not its submitter's fault, show that, and run it.
 */
export interface ClaimedSubmission {
  readonly sha256: string;
  readonly principal: string;
  readonly nonce: string;
  readonly notBefore: Date;
  /** It has failed without its expected outputs: a wish that needs no belief, as it grants nothing. */
  readonly requireOutputs: boolean;
  /** Its receipt is attested: a wish as well, which costs two signatures. */
  readonly attest: boolean;
  /** How much output it wants kept: a wish as well, as policy and ceiling bound it. */
  readonly output: OutputWish;
  /** Whom its output is to be sealed to, 32 bytes: believed of a submission that is genuine alone. Absent: nobody. */
  readonly sealTo?: Uint8Array;
  /** The terminal that it asks for. Absent: none. */
  readonly terminal?: TerminalWish;
}

/** In bytes. Absent: what a host keeps where nobody asks. */
export type OutputWish = Pick<Limits, 'stdout_bytes' | 'stderr_bytes'>;

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
  /** That came with it: a bearer secret. Empty: none came. */
  readonly submissionToken: string;
  readonly claimed: ClaimedSubmission | undefined;

  constructor(
    { executionId, ticketJson, approvalsJson, submissionJson, submissionToken = '' }: Offer,
    { contract, contractSha256 }: CanonicalContract,
  ) {
    this.executionId = executionId;
    this.contract = contract;
    this.contractSha256 = contractSha256;
    this.ticketJson = ticketJson;
    this.approvalsJson = approvalsJson;
    this.submissionJson = submissionJson;
    this.submissionToken = submissionToken;
    this.claimed = readClaimed(submissionJson);
  }
}

/** An offer whose contract can be read. All of it is what the gate says: nothing in it is believed yet. */
export type OfferedTicket = Offered;

/** Throws CONTRACT_INVALID with every fault. */
export function readOffer(offer: Offer): OfferedTicket {
  return new Offered(offer, orThrow(readContract(offer.contractJson), 'CONTRACT_INVALID', 'the contract'));
}

// Undefined where none came, or what came is none.
function readClaimed(submissionJson: Uint8Array): ClaimedSubmission | undefined {
  if (submissionJson.length === 0) return undefined;
  const parsed = parseSubmission(submissionJson);
  if (!parsed.ok) return undefined;
  const { principal, nonce, not_before: begins, options } = parsed.value;
  const notBefore = parseTimestamp(begins) ?? new Date(0);
  const requireOutputs = options.require_outputs === true;
  const attest = options.attest === true;
  const { stdout_bytes, stderr_bytes } = options.limits ?? {};
  const output = {
    ...(stdout_bytes === undefined ? {} : { stdout_bytes }),
    ...(stderr_bytes === undefined ? {} : { stderr_bytes }),
  };
  const seal = options.seal === undefined ? {} : { sealTo: Buffer.from(options.seal.public_key, 'base64') };
  const terminal = options.terminal === undefined ? {} : { terminal: options.terminal };
  return {
    sha256: submissionSha256(parsed.value),
    principal,
    nonce,
    notBefore,
    requireOutputs,
    attest,
    output,
    ...terminal,
    ...seal,
  };
}

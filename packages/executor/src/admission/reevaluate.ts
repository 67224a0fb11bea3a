import type { CommandContract } from '@csc-fleet/common/contract';
import { type Evaluation, evaluate } from '@csc-fleet/common/decision';
import { CscError } from '@csc-fleet/common/errors';
import { hasLabels } from '@csc-fleet/common/owners';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import type { SubmittedTicket } from './submission.ts';

class Permitted {
  protected readonly step = 'permitted';
  readonly contract: CommandContract;
  readonly ticket: ExecutionTicket;
  readonly verifiedAt: Date;
  /** The owner's, by the hash that the ticket names. */
  readonly document: PolicyDocument;
  /** What it says here: to run it, or to ask people first. */
  readonly evaluation: Evaluation;
  readonly submitted: SubmittedTicket;

  constructor(submitted: SubmittedTicket, document: PolicyDocument, evaluation: Evaluation) {
    this.submitted = submitted;
    this.contract = submitted.contract;
    this.ticket = submitted.ticket;
    this.verifiedAt = submitted.verifiedAt;
    this.document = document;
    this.evaluation = evaluation;
  }
}

/** A policy of this host's owner does not deny the contract. People may still have to be asked. */
export type PermittedContract = Permitted;

/**
 * Decides again, by this host's own copy of the policy that the ticket names: a gate that was taken over can name a
 * policy, but not change one. Throws POLICY_UNSIGNED where this host does not hold it, NOT_PERMITTED where it denies,
 * or is for other hosts than this one.
 * @param labels of this host
 */
export function reevaluate(
  submitted: SubmittedTicket,
  labels: Readonly<Record<string, string>>,
): PermittedContract {
  const { contract, ticket, owners } = submitted;
  const document = owners.policies.bySha256(ticket.policy_sha256.toLowerCase());
  if (document === undefined) {
    const own = owners.policies.byName(ticket.policy_profile);
    const held =
      own === undefined
        ? "none of that name: give it the owner's file"
        : `another version of it, ${own.sha256}: give gate and host the same file`;
    throw new CscError(
      'POLICY_UNSIGNED',
      `the gate decided by the policy ${ticket.policy_profile} (${ticket.policy_sha256}), and this host holds ${held}`,
    );
  }
  if (!hasLabels(labels, document.policy.hosts ?? {}))
    throw new CscError(
      'NOT_PERMITTED',
      `the policy ${document.policy.name} lets nothing run on a host with the labels of this one (hosts)`,
    );
  const asked = { terminal: ticket.grant.terminal !== undefined };
  const evaluation = evaluate(contract, document, undefined, asked);
  if (evaluation.verdict !== 'deny') return new Permitted(submitted, document, evaluation);
  const said = `${evaluation.reasonCodes.join(', ')}: ${evaluation.reasons.join('; ')}`;
  throw new CscError(
    'NOT_PERMITTED',
    `this host's copy of the policy ${document.policy.name} denies it: ${said}`,
  );
}

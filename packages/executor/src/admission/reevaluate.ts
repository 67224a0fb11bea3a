import type { CommandContract } from '@csc-fleet/common/contract';
import { type Evaluation, evaluate } from '@csc-fleet/common/decision';
import { CscError } from '@csc-fleet/common/errors';
import type { PolicyDocument, PolicySet } from '@csc-fleet/common/policy';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';

/** The owner's policy for a ticket, and what it says here. */
export interface Reevaluation {
  readonly document: PolicyDocument;
  readonly evaluation: Evaluation;
}

/**
 * Decides again, by this host's own copy of the policy that the ticket names: a gate that was taken over can name a
 * policy, but not change one. Throws POLICY_UNSIGNED where this host does not hold it, NOT_PERMITTED where it denies.
 */
export function reevaluate(
  contract: CommandContract,
  ticket: ExecutionTicket,
  policies: PolicySet,
): Reevaluation {
  const document = policies.bySha256(ticket.policy_sha256.toLowerCase());
  if (document === undefined) {
    throw new CscError(
      'POLICY_UNSIGNED',
      `this host does not hold the policy ${ticket.policy_profile} (${ticket.policy_sha256}); give it the owner's file`,
    );
  }
  const evaluation = evaluate(contract, document);
  if (evaluation.verdict !== 'deny') return { document, evaluation };
  const said = `${evaluation.reasonCodes.join(', ')}: ${evaluation.reasons.join('; ')}`;
  throw new CscError(
    'NOT_PERMITTED',
    `this host's copy of the policy ${document.policy.name} denies it: ${said}`,
  );
}

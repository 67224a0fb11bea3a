import type { CommandContract } from '@csc-fleet/common/contract';
import {
  type Evaluation,
  evaluate,
  type Finding,
  type PolicyDecision,
  toPolicyDecision,
} from '@csc-fleet/common/decision';
import type { PolicyDocument } from '@csc-fleet/common/policy';

/** How long a decision that nobody keeps says that it holds. */
const decisionLifeMs = 24 * 60 * 60 * 1000;

/** The PolicyDecision, with the policy's hash and all findings beside its own members. */
export interface DecisionDocument extends PolicyDecision {
  readonly policy_sha256: string;
  readonly findings: readonly FindingDocument[];
}

interface FindingDocument {
  readonly reason_code: string;
  /** Absent where it is of the whole contract. */
  readonly command_id?: string;
  readonly member: string;
  readonly message: string;
}

/** A contract judged by a policy: what a person reads of it, and what a program does. */
export interface Judgement {
  readonly evaluation: Evaluation;
  readonly document: DecisionDocument;
}

/** Judges without a gate: nothing is signed or recorded. */
export function decide(contract: CommandContract, policy: PolicyDocument, now: Date): Judgement {
  const evaluation = evaluate(contract, policy);
  const expiresAt = new Date(now.getTime() + decisionLifeMs);
  const document = {
    ...toPolicyDecision(contract, evaluation, policy, expiresAt),
    policy_sha256: policy.sha256,
    findings: evaluation.findings.map(toFindingDocument),
  };
  return { evaluation, document };
}

function toFindingDocument({ reasonCode, commandId, member, message }: Finding): FindingDocument {
  return {
    reason_code: reasonCode,
    ...(commandId === '' ? {} : { command_id: commandId }),
    member,
    message,
  };
}

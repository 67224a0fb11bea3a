import {
  type CanonicalContract,
  canonicalContract,
  contractFromJson,
  contractFromProto,
  readContract,
} from '@csc-fleet/common/contract';
import type { Signer } from '@csc-fleet/common/crypto';
import {
  type AskedBeside,
  type Evaluation,
  evaluate,
  stoppedByOwners,
  toPolicyDecision,
} from '@csc-fleet/common/decision';
import { earliest } from '@csc-fleet/common/encoding';
import { CscError, orThrow, type Parsed } from '@csc-fleet/common/errors';
import { signArtifact } from '@csc-fleet/common/evidence';
import { type CheckRequest, type Decision, Verdict } from '@csc-fleet/common/messages';
import type { PolicyDocument } from '@csc-fleet/common/policy';

export interface Decided extends CanonicalContract {
  readonly policy: PolicyDocument;
  readonly evaluation: Evaluation;
  readonly expiresAt: Date;
  /** The wire's form, with the signed artifact in it. */
  readonly decision: Decision;
}

export interface DecisionPorts {
  readonly signer: Signer;
  /** How long a decision stands. */
  readonly decisionTtlSec: number;
  /** Until when it stands at most: nothing of it may begin later. Absent: that is not known. */
  readonly standsUntil?: Date | undefined;
  /** What a policy says of this contract, where that may be known. Absent: `evaluate`. */
  readonly judge?: (policy: PolicyDocument, asked: AskedBeside) => Evaluation;
}

const verdicts = {
  allow: Verdict.ALLOW,
  deny: Verdict.DENY,
  needs_approval: Verdict.NEEDS_APPROVAL,
} as const;

/** A contract as it came: JSON text, or the typed message. Throws CONTRACT_INVALID with every fault. */
export function parse(submitted: CheckRequest['contract']): CanonicalContract {
  if (submitted?.$case !== 'typedContract') return taken(readContract(submitted?.value ?? new Uint8Array()));
  return canonicalContract(taken(contractFromJson(contractFromProto(submitted.value))));
}

function taken<T>(contract: Parsed<T>): T {
  return orThrow(contract, 'CONTRACT_INVALID', 'the contract');
}

/**
 * What the policy says of a contract, as a signed PolicyDecision and with all findings.
 * @param stopped why the owners let nothing of it run; under v0.1, whose decisions know no code for that, it is for
 *   `checkNotStopped` to refuse it
 */
export function decide(
  handed: CanonicalContract,
  policy: PolicyDocument,
  stopped: string | undefined,
  { signer, decisionTtlSec, standsUntil, judge }: DecisionPorts,
  now: Date,
  asked: AskedBeside = {},
): Decided {
  const { contract, contractSha256 } = handed;
  const found = judge?.(policy, asked) ?? evaluate(contract, policy, undefined, asked);
  const evaluation = stopped === undefined || isOld(policy) ? found : stoppedByOwners(found, stopped);
  const expiresAt = earliest(new Date(now.getTime() + decisionTtlSec * 1000), standsUntil);
  const artifact = toPolicyDecision(contract, evaluation, policy, expiresAt, contractSha256);
  const decision: Decision = {
    verdict: verdicts[evaluation.verdict],
    reasonCodes: [...evaluation.reasonCodes],
    reasons: [...evaluation.reasons],
    findings: evaluation.findings.map((finding) => ({ ...finding })),
    contractSha256,
    policySha256: policy.sha256,
    policyProfile: policy.policy.name,
    expiresAt,
    decisionJson: signArtifact(artifact, signer, now),
  };
  return { ...handed, policy, evaluation, expiresAt, decision };
}

/** Throws NOT_PERMITTED for what the owners have stopped under a v0.1 policy. */
export function checkNotStopped(policy: PolicyDocument, stopped: string | undefined): void {
  if (stopped === undefined || !isOld(policy)) return;
  throw new CscError('NOT_PERMITTED', `EMERGENCY_DENY_ALL: ${stopped}`);
}

function isOld({ policy }: PolicyDocument): boolean {
  return policy.policy_schema_version === 'csc.policy.v0.1';
}

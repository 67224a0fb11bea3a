import * as z from 'zod';
import { type CommandContract, contractSha256 } from '../contract/index.ts';
import { artifactBytes, type JsonValue, toTimestamp } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import type { Policy, PolicyDocument } from '../policy/index.ts';
import {
  nonEmptyText,
  oneOf,
  parseArtifact,
  sha256Member,
  signatureMember,
  timestamp,
  uniqueList,
  validate,
} from '../schema/index.ts';
import type { Evaluation } from './evaluate.ts';
import { reasonCodes, verdicts } from './reason-codes.ts';

const classifiedEffect = z.strictObject({ command_id: nonEmptyText, effect_type: nonEmptyText });

/** The rules of a PolicyDecision (protocol §3). */
export const decisionSchema = z
  .strictObject({
    contract_id: nonEmptyText,
    contract_sha256: sha256Member,
    decision: oneOf(verdicts),
    policy_profile: nonEmptyText.meta({ minLength: 1, description: "The policy's name." }),
    policy_schema_version: nonEmptyText.exactOptional().meta({
      minLength: 1,
      description: "The policy's version; absent where it is csc.policy.v0.1, which has no member for it.",
    }),
    classified_effects: z.array(classifiedEffect),
    reasons: z.array(nonEmptyText).min(1),
    reason_codes: uniqueList(oneOf(reasonCodes), 1),
    expires_at: timestamp,
    signature: signatureMember.exactOptional(),
  })
  .meta({ title: 'CSC PolicyDecision v0.1', description: 'What a policy says of a contract.' });

/** The artifact that says what a policy says of a contract (protocol §3). */
export type PolicyDecision = z.infer<typeof decisionSchema>;

/**
 * The artifact of an evaluation, unsigned.
 * @param sha256 of the contract, for who knows it already
 */
export function toPolicyDecision(
  contract: CommandContract,
  evaluation: Evaluation,
  { policy }: PolicyDocument,
  expiresAt: Date,
  sha256 = contractSha256(contract),
): PolicyDecision {
  return {
    contract_id: contract.contract_id,
    contract_sha256: sha256,
    decision: evaluation.verdict,
    policy_profile: policy.name,
    ...versionOf(policy),
    classified_effects: evaluation.classifiedEffects.map((effect) => ({ ...effect })),
    reasons: [...evaluation.reasons],
    reason_codes: [...evaluation.reasonCodes],
    expires_at: toTimestamp(expiresAt),
  };
}

// Readers of v0.1 decisions refuse a member that they do not know.
function versionOf({
  policy_schema_version: version,
}: Policy): Pick<PolicyDecision, 'policy_schema_version'> {
  return version === 'csc.policy.v0.1' ? {} : { policy_schema_version: version };
}

/** Reads a PolicyDecision, signed or not, from its JSON text. The signature is not verified here. */
export function parseDecision(bytes: Uint8Array): Parsed<PolicyDecision> {
  return parseArtifact(bytes, artifactBytes.decision, decisionFromJson);
}

/** Validates a PolicyDecision that is parsed already. */
export function decisionFromJson(value: JsonValue): Parsed<PolicyDecision> {
  return validate(decisionSchema, value);
}

import type * as z from 'zod';
import { type CommandContract, contractSha256 } from '../contract/index.ts';
import { type JsonValue, toTimestamp } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import { parseArtifact, validate } from '../members/index.ts';
import type { PolicyDocument } from '../policy/index.ts';
import type { Evaluation } from './evaluate.ts';
import { decisionSchema } from './schema.ts';

/** The artifact that says what a policy says of a contract (protocol §3). */
export type PolicyDecision = z.infer<typeof decisionSchema>;

const maxBytes = 1_048_576;

/** The artifact of an evaluation, unsigned. */
export function toPolicyDecision(
  contract: CommandContract,
  evaluation: Evaluation,
  { policy }: PolicyDocument,
  expiresAt: Date,
): PolicyDecision {
  return {
    contract_id: contract.contract_id,
    contract_sha256: contractSha256(contract),
    decision: evaluation.verdict,
    policy_profile: policy.name,
    classified_effects: evaluation.classifiedEffects.map((effect) => ({ ...effect })),
    reasons: [...evaluation.reasons],
    reason_codes: [...evaluation.reasonCodes],
    expires_at: toTimestamp(expiresAt),
  };
}

/** Reads a PolicyDecision, signed or not, from its JSON text. The signature is not verified here. */
export function parseDecision(bytes: Uint8Array): Parsed<PolicyDecision> {
  return parseArtifact(bytes, maxBytes, decisionFromJson);
}

/** Validates a PolicyDecision that is parsed already. */
export function decisionFromJson(value: JsonValue): Parsed<PolicyDecision> {
  return validate(decisionSchema, value);
}

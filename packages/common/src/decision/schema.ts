import * as z from 'zod';
import {
  nonEmptyText,
  oneOf,
  sha256Member,
  signatureMember,
  timestamp,
  uniqueList,
} from '../members/index.ts';
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

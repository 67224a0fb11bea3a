import type { Command } from '../contract/index.ts';
import type { Policy } from '../policy/index.ts';
import { type Classification, classifyEffect } from './classify.ts';
import { allowed, type CommandFinding, type JudgeCommand, noFindings } from './finding.ts';

/** All that a policy says of what a command does, and proposes to do. */
export const judgeEffects: JudgeCommand = (command, policy) => {
  const classification = classifyEffect(command, policy);
  return [
    ...judgeReclassification(command, classification, policy),
    ...judgeProposal(command, policy),
    ...judgeEffectApproval(classification.effect, policy),
  ];
};

/** Step 2c. */
export const judgeProposal: JudgeCommand = (
  { proposed_effect_type: effect },
  { allowed_effect_types: types },
) => {
  if (types.includes(effect)) return noFindings;
  const message = `proposed effect type not allowed: ${effect}${allowed(types)}`;
  return [{ reasonCode: 'EFFECT_TYPE_NOT_ALLOWED', member: 'proposed_effect_type', message }];
};

/** Where a rule says another effect than the contract, that is told, and it must be an allowed one just the same. */
export function judgeReclassification(
  { proposed_effect_type: proposed }: Command,
  { effect, byRule }: Classification,
  { allowed_effect_types: types }: Policy,
): readonly CommandFinding[] {
  if (!byRule) return noFindings;
  const member = 'proposed_effect_type';
  const told = `effect reclassified: by the policy's effect_rules it is ${effect}, not ${proposed}`;
  const reclassified: CommandFinding = { reasonCode: 'EFFECT_RECLASSIFIED', member, message: told };
  if (types.some((type) => type === effect)) return [reclassified];
  const message = `classified effect type not allowed: ${effect}${allowed(types)}`;
  return [reclassified, { reasonCode: 'EFFECT_TYPE_NOT_ALLOWED', member, message }];
}

export function judgeEffectApproval(effect: string, policy: Policy): readonly CommandFinding[] {
  if (!policy.manual_approval_for_classified_effect_types.includes(effect)) return noFindings;
  const message = `classified effect type requires approval: ${effect}`;
  return [{ reasonCode: 'APPROVAL_REQUIRED', member: 'proposed_effect_type', message }];
}

import * as z from 'zod';
import { boundedText, declaredPath, nonEmptyText, oneOf, versionMember } from '../schema/index.ts';
import { commandSchema } from './command.ts';

/** How much harm the contract's author expects, least first. */
export const riskClasses = ['low', 'medium', 'high', 'critical'] as const;

/** Who has to agree. */
export const approvalModes = ['policy_only', 'human_required', 'dual_control_required'] as const;

const actor = z
  .strictObject({
    agent_id: nonEmptyText,
    session_id: nonEmptyText,
    initiating_user: nonEmptyText,
    delegation_scope: nonEmptyText,
  })
  .meta({ id: 'Actor', description: 'Who asks, and for whom.' });

const commands = z
  .array(commandSchema)
  .min(1)
  .max(20)
  .superRefine(refineUniqueIds, { when: () => true });

/** The rules of a CommandContract (protocol §1). */
export const contractSchema = z
  .strictObject({
    version: versionMember('contract', 'csc.v0.1'),
    contract_id: boundedText({ min: 8, max: 128 }),
    intent: boundedText({ min: 1, max: 1000 }),
    actor,
    commands,
    risk_class: oneOf(riskClasses),
    approval_mode: oneOf(approvalModes),
    justification: boundedText({ min: 1, max: 4000 }).meta({
      minLength: 1,
      maxLength: 4000,
      description: 'Untrusted text for people; no decision looks at it.',
    }),
    expected_outputs: z.array(declaredPath).default([]),
  })
  .meta({
    title: 'CSC CommandContract v0.1',
    description: 'What is to be run, what it may touch, and why.',
  });

// Runs beside the commands' own faults, so that all come at once; the value may be anything.
function refineUniqueIds(value: unknown, context: z.core.$RefinementCtx): void {
  if (!Array.isArray(value)) return;
  const first = new Map<unknown, number>();
  for (const [index, command] of value.entries()) {
    const id: unknown = command?.id;
    if (typeof id !== 'string') continue;
    const earlier = first.get(id);
    if (earlier === undefined) first.set(id, index);
    else
      context.addIssue({
        code: 'custom',
        path: [index, 'id'],
        message: `is the id of commands[${earlier}] too: ids are unique`,
      });
  }
}

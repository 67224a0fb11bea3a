import * as z from 'zod';
import { argvSchema, commandSchema, contractSchema } from '../contract/index.ts';
import { reasonCodes, verdicts } from '../decision/index.ts';
import { nonEmptyText, oneOf, versionMember } from '../schema/index.ts';

const { shape } = commandSchema;

/** Where a sample's command is that says nothing else. */
export const defaultCwd = '/workspace';

const sampleCommand = z
  .strictObject({
    argv: argvSchema
      .exactOptional()
      .meta({ description: 'Short for exec. Exactly one of argv and pipeline.' }),
    pipeline: z.array(argvSchema).min(2).max(10).exactOptional().meta({ description: 'Short for segments.' }),
    cwd: shape.cwd.default(defaultCwd),
    read_paths: shape.read_paths.default([]),
    write_paths: shape.write_paths.default([]),
    network: shape.network.default('deny'),
    env_allow: shape.env_allow.default([]),
    secret_refs: shape.secret_refs.default([]),
    timeout_sec: shape.timeout_sec.default(10),
    proposed_effect_type: shape.proposed_effect_type.default('observe'),
  })
  .superRefine((value, context) => refineOneOf(value, ['argv', 'pipeline'], context), { when: () => true })
  .meta({
    id: 'SampleCommand',
    description: 'A command in short: what is not said has the default.',
    oneOf: [{ required: ['argv'] }, { required: ['pipeline'] }],
  });

const wholeOnly = { risk_class: false, approval_mode: false };

const sample = z
  .strictObject({
    name: nonEmptyText.meta({ minLength: 1, description: 'What the sample shows.' }),
    contract: contractSchema.exactOptional().meta({ description: 'Exactly one of contract and commands.' }),
    commands: z
      .array(sampleCommand)
      .min(1)
      .max(20)
      .exactOptional()
      .meta({ description: 'A contract in short.' }),
    risk_class: contractSchema.shape.risk_class
      .exactOptional()
      .meta({ description: 'With commands; low if absent.' }),
    approval_mode: contractSchema.shape.approval_mode
      .exactOptional()
      .meta({ description: 'With commands; policy_only if absent.' }),
    decision: oneOf(verdicts),
    reason_code: oneOf(reasonCodes),
  })
  .superRefine(refineSample, { when: () => true })
  .meta({
    id: 'Sample',
    oneOf: [{ required: ['contract'], properties: wholeOnly }, { required: ['commands'] }],
  });

/** The rules of NAME.samples.yaml: contracts, and what the profile NAME.yaml must say of each. */
export const samplesSchema = z
  .strictObject({
    samples_version: versionMember('samples', 'csc.policy-samples.v0.1'),
    samples: z.array(sample).min(1),
  })
  .meta({
    title: 'CSC policy samples v0.1',
    description: 'Contracts, and what a policy profile must say of each.',
  });

/** A contract, whole or in short, and what a profile must say of it. */
export type Sample = z.infer<typeof sample>;
export type SampleCommand = z.infer<typeof sampleCommand>;

// Both run beside the members' own faults, so that all come at once; the value may be anything.
function refineSample(value: unknown, context: z.core.$RefinementCtx): void {
  refineOneOf(value, ['contract', 'commands'], context);
  if (!isObject(value) || !('contract' in value)) return;
  for (const member of ['risk_class', 'approval_mode'].filter((it) => it in value)) {
    context.addIssue({ code: 'custom', path: [member], message: 'belongs in the contract: say it there' });
  }
}

function refineOneOf(
  value: unknown,
  [a, b]: readonly [string, string],
  context: z.core.$RefinementCtx,
): void {
  if (!isObject(value) || a in value !== b in value) return;
  context.addIssue({ code: 'custom', message: `must have exactly one of ${a} and ${b}` });
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

import type { Command, CommandContract } from '../contract/index.ts';
import { type Evaluation, evaluate } from '../decision/index.ts';
import { artifactBytes } from '../encoding/index.ts';
import type { Fault, Parsed } from '../errors/index.ts';
import type { PolicyDocument } from '../policy/policy.ts';
import { validate } from '../schema/index.ts';
import { parseStrictYaml } from '../yaml/index.ts';
import { defaultCwd, type Sample, type SampleCommand, samplesSchema } from './sample-schema.ts';

/** Reads sample decisions from their YAML text. */
export function parseSamples(bytes: Uint8Array): Parsed<Sample[]> {
  const document = parseStrictYaml(bytes, { maxBytes: artifactBytes.policy });
  if (!document.ok) return document;
  const file = validate(samplesSchema, document.value);
  return file.ok ? { ok: true, value: file.value.samples } : file;
}

/** What a profile says of a sample, beside what it must say. */
export interface SampleResult {
  readonly sample: Sample;
  readonly evaluation: Evaluation;
  readonly isAsDue: boolean;
  /** What to add to a sample that is not as due. Absent: nothing is known that would help. */
  readonly advice?: string;
}

/** Has a profile decide all samples, in order. */
export function testSamples(samples: readonly Sample[], policy: PolicyDocument): SampleResult[] {
  return samples.map((sample) => {
    const evaluation = evaluate(toContract(sample), policy);
    const { verdict, reasonCodes } = evaluation;
    const isAsDue = verdict === sample.decision && reasonCodes.includes(sample.reason_code);
    const advice = isAsDue ? undefined : adviseOnCwd(sample, evaluation, policy);
    return { sample, evaluation, isAsDue, ...(advice === undefined ? {} : { advice }) };
  });
}

// The default is fixed: hosts of every release must decide a sample alike, or refuse all that the owners have signed.
function adviseOnCwd(
  { commands = [] }: Sample,
  { reasonCodes }: Evaluation,
  { policy: { name, allowed_cwd_prefixes: allowed } }: PolicyDocument,
): string | undefined {
  const [first] = allowed;
  if (first === undefined || !reasonCodes.includes('CWD_NOT_ALLOWED')) return undefined;
  if (!commands.some(({ cwd }) => cwd === defaultCwd)) return undefined;
  return `a sample's command that names no cwd is in ${defaultCwd}, where ${name} lets nothing run: add cwd: ${first} to each`;
}

/** What the profile says otherwise than its samples: one Fault a sample that fails. */
export function judgeSamples(samples: readonly Sample[], policy: PolicyDocument): Fault[] {
  return testSamples(samples, policy).flatMap((result, index) =>
    result.isAsDue ? [] : [{ path: `samples[${index}]`, message: describeFailure(result) }],
  );
}

function describeFailure({ sample, evaluation, advice }: SampleResult): string {
  const { verdict, reasonCodes, reasons } = evaluation;
  const due = `${sample.decision} (${sample.reason_code})`;
  return `"${sample.name}" must be ${due}, but is ${verdict} (${reasonCodes.join(', ')}): ${reasons[0]}${advice === undefined ? '' : `; ${advice}`}`;
}

/** The contract of a sample, the short form written out. */
export function toContract(sample: Sample): CommandContract {
  if (sample.contract !== undefined) return sample.contract;
  return {
    version: 'csc.v0.1',
    contract_id: 'policy-sample',
    intent: sample.name,
    actor: {
      agent_id: 'sample',
      session_id: 'sample',
      initiating_user: 'sample',
      delegation_scope: 'sample',
    },
    commands: sample.commands?.map(toCommand) ?? [],
    risk_class: sample.risk_class ?? 'low',
    approval_mode: sample.approval_mode ?? 'policy_only',
    justification: 'a sample decision',
    expected_outputs: [],
  };
}

function toCommand({ argv, pipeline, ...rest }: SampleCommand, index: number): Command {
  const form =
    argv === undefined
      ? { pipeline: { segments: (pipeline ?? []).map((it) => ({ argv: it })) } }
      : { exec: { argv } };
  return { id: `command-${index + 1}`, ...form, ...rest };
}

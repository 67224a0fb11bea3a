import type { Command, CommandContract } from '../contract/index.ts';
import { evaluate } from '../decision/index.ts';
import { artifactBytes } from '../encoding/index.ts';
import type { Fault, Parsed } from '../errors/index.ts';
import type { PolicyDocument } from '../policy/policy.ts';
import { validate } from '../schema/index.ts';
import { parseStrictYaml } from '../yaml/index.ts';
import { type Sample, type SampleCommand, samplesSchema } from './sample-schema.ts';

/** Reads sample decisions from their YAML text. */
export function parseSamples(bytes: Uint8Array): Parsed<Sample[]> {
  const document = parseStrictYaml(bytes, { maxBytes: artifactBytes.policy });
  if (!document.ok) return document;
  const file = validate(samplesSchema, document.value);
  return file.ok ? { ok: true, value: file.value.samples } : file;
}

/** What the profile says otherwise than its samples: one Fault a sample that fails. */
export function judgeSamples(samples: readonly Sample[], policy: PolicyDocument): Fault[] {
  return samples.flatMap((sample, index) => judgeSample(sample, `samples[${index}]`, policy));
}

function judgeSample(sample: Sample, path: string, policy: PolicyDocument): Fault[] {
  const { verdict, reasonCodes, reasons } = evaluate(toContract(sample), policy);
  if (verdict === sample.decision && reasonCodes.includes(sample.reason_code)) return [];
  const due = `${sample.decision} (${sample.reason_code})`;
  return [
    {
      path,
      message: `"${sample.name}" must be ${due}, but is ${verdict} (${reasonCodes.join(', ')}): ${reasons[0]}`,
    },
  ];
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

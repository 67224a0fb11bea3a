import type { Command, CommandContract } from '../contract/index.ts';
import { effectTypes } from '../contract/index.ts';
import {
  type AskedBeside,
  evaluate,
  findHostRefusals,
  type HostRules,
  type Verdict,
} from '../decision/index.ts';
import type { Policy, PolicyDocument } from '../policy/index.ts';

/** What may be asked of a fleet: a contract of one command, what comes with it, and of what hosts. */
export interface Question {
  readonly contract: CommandContract;
  readonly asked: AskedBeside;
  readonly host: HostRules;
}

/** How a question differs from a plain one. */
export interface Variation {
  /** The segments of a pipeline, or one argv. Absent: whatever the policy lets run. */
  readonly argvs?: readonly (readonly string[])[];
  readonly command?: Partial<Command>;
  readonly contract?: Partial<CommandContract>;
  readonly asked?: AskedBeside;
}

const ranks: readonly Verdict[] = ['deny', 'needs_approval', 'allow'];

/** 0 where policy or host refuse it, 1 where somebody must agree, 2 where nobody needs to. */
export function rank({ contract, asked, host }: Question, document: PolicyDocument): number {
  if (findHostRefusals(contract, document, host).length > 0) return 0;
  return ranks.indexOf(evaluate(contract, document, host, asked).verdict);
}

/** Every question that a variation stands for: with each effect that may be proposed, to hosts of both kinds. */
export function* toQuestions(
  { argvs: given, command, contract, asked = {} }: Variation,
  { policy }: PolicyDocument,
  usual: readonly (readonly string[])[],
): Generator<Question, void> {
  const proposals =
    command?.proposed_effect_type === undefined ? allowedProposals(policy) : [command.proposed_effect_type];
  const forms = given === undefined ? usual.map((argv) => [argv]) : [given];
  for (const form of forms)
    for (const proposed of proposals)
      for (const inlineCode of [false, true])
        yield {
          contract: makeContract(
            { ...makeCommand(form, policy), proposed_effect_type: proposed, ...command },
            policy,
            contract,
          ),
          asked,
          host: { inlineCode },
        };
}

function allowedProposals({
  allowed_effect_types: types,
}: Policy): readonly Command['proposed_effect_type'][] {
  return effectTypes.filter((it) => types.includes(it));
}

/** A command of these argvs that asks for nothing else. */
export function makeCommand(
  argvs: readonly (readonly string[])[],
  policy: Policy,
): Omit<Command, 'proposed_effect_type'> {
  const [first = [], ...others] = argvs.map((argv) => [...argv]);
  const form =
    others.length === 0
      ? { exec: { argv: first } }
      : { pipeline: { segments: [first, ...others].map((argv) => ({ argv })) } };
  return {
    id: 'main',
    ...form,
    cwd: policy.allowed_cwd_prefixes[0] ?? '/',
    read_paths: [],
    write_paths: [],
    network: 'deny',
    env_allow: [],
    secret_refs: [],
    timeout_sec: 1,
  };
}

/** A contract of this command that asks for nothing else. */
export function makeContract(
  command: Command,
  { allowed_risk_classes: risks }: Policy,
  overrides: Partial<CommandContract> = {},
): CommandContract {
  const who = 'counterexample';
  return {
    version: 'csc.v0.1',
    contract_id: who,
    intent: 'what the new policy allows and the old one does not',
    actor: { agent_id: who, session_id: who, initiating_user: who, delegation_scope: who },
    commands: [command],
    risk_class: risks[0] ?? 'low',
    approval_mode: 'policy_only',
    justification: 'a counterexample',
    expected_outputs: [],
    ...overrides,
  };
}

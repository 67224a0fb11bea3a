import { argvs, type Command, type CommandContract } from '../contract/index.ts';
import { isCoveredBy } from '../paths/index.ts';
import { isNamedProgram, type Policy, type PolicyDocument } from '../policy/index.ts';
import { classifyEffect } from './classify.ts';
import { type AskedBeside, type Evaluation, evaluate } from './evaluate.ts';
import type { Finding } from './finding.ts';
import type { HostRules } from './judge-words.ts';
import { matchEffectRule } from './match-effect-rule.ts';

/** What a policy makes of one member of a contract, and by which of its own members. */
export interface Ground {
  /** As in `commands[0].read_paths[2]`. */
  readonly member: string;
  /** What the contract asks for there. */
  readonly asked: string;
  /** The rule that lets it pass, as in `allowed_read_prefixes[1] /workspace`; of what is refused, the rule that it fails. */
  readonly rule: string;
  /** What is said against it; empty where nothing is. */
  readonly findings: readonly Finding[];
}

/** A decision, with the ground of each of its parts. */
export interface Explanation extends Evaluation {
  /** In the order of the contract's members. What a finding names that is no member of its own comes last. */
  readonly grounds: readonly Ground[];
}

/** Decides as `evaluate` does, which alone decides, and says by which rule each member passes or fails. */
export function explain(
  contract: CommandContract,
  document: PolicyDocument,
  host?: HostRules,
  asked: AskedBeside = {},
): Explanation {
  const { policy } = document;
  const evaluation = evaluate(contract, document, host, asked);
  const asks = [
    {
      member: 'risk_class',
      asked: contract.risk_class,
      rule: entryOf('allowed_risk_classes', policy.allowed_risk_classes, contract.risk_class),
    },
    { member: 'approval_mode', asked: contract.approval_mode, rule: 'the contract’s own wish' },
    ...contract.commands.flatMap((command, index) =>
      explainCommand(command, policy).map((it) => ({ ...it, member: `commands[${index}].${it.member}` })),
    ),
  ];
  const grounds = asks.map((it) => ({
    ...it,
    findings: evaluation.findings.filter((finding) => isAbout(finding, it.member)),
  }));
  const told = new Set(grounds.flatMap(({ findings }) => findings));
  const others = evaluation.findings.filter((it) => !told.has(it));
  return {
    ...evaluation,
    grounds: [
      ...grounds,
      ...others.map((it) => ({ member: it.member, asked: '', rule: it.reasonCode, findings: [it] })),
    ],
  };
}

type Ask = Omit<Ground, 'findings'>;

function explainCommand(command: Command, policy: Policy): Ask[] {
  const { proposed_effect_type: proposed, secret_refs: secrets, env_allow: names } = command;
  return [
    ...argvs(command).flatMap((argv, at) =>
      explainArgv(argv, command.exec === undefined ? `pipeline.segments[${at}].argv` : 'exec.argv', policy),
    ),
    { member: 'proposed_effect_type', asked: proposed, rule: explainEffect(command, policy) },
    {
      member: 'timeout_sec',
      asked: String(command.timeout_sec),
      rule: `max_timeout_sec ${policy.max_timeout_sec}`,
    },
    { member: 'network', asked: command.network, rule: `network ${policy.network}` },
    ...secrets.map((name, at) => ({
      member: `secret_refs[${at}]`,
      asked: name,
      rule:
        policy.allow_secret_refs && policy.allowed_secret_names !== undefined
          ? entryOf('allowed_secret_names', policy.allowed_secret_names, name)
          : `allow_secret_refs ${policy.allow_secret_refs}`,
    })),
    ...names.map((name, at) => ({
      member: `env_allow[${at}]`,
      asked: name,
      rule: explainVariable(name, policy),
    })),
    {
      member: 'cwd',
      asked: command.cwd,
      rule: prefixOf('allowed_cwd_prefixes', policy.allowed_cwd_prefixes, command.cwd),
    },
    ...command.read_paths.map((path, at) => ({
      member: `read_paths[${at}]`,
      asked: path,
      rule: prefixOf('allowed_read_prefixes', policy.allowed_read_prefixes, path),
    })),
    ...command.write_paths.map((path, at) => ({
      member: `write_paths[${at}]`,
      asked: path,
      rule: policy.require_write_paths_empty
        ? 'require_write_paths_empty'
        : prefixOf('allowed_write_prefixes', policy.allowed_write_prefixes, path),
    })),
  ];
}

function explainArgv(argv: readonly string[], member: string, policy: Policy): Ask[] {
  const program = argv[0] ?? '';
  const rules = (policy.allow ?? []).flatMap((rule, at) =>
    isNamedProgram(program, rule.program) ? [`allow[${at}]`] : [],
  );
  const [first, last] = [rules[0], rules.at(-1)];
  const which = first === undefined ? '' : `, then one of ${first === last ? first : `${first} to ${last}`}`;
  return [
    {
      member,
      asked: argv.join(' '),
      rule: `${entryOf('allow_commands', policy.allow_commands, program)}${which}`,
    },
  ];
}

/** As classifyEffect says; a rule that only might match raises an effect too. */
function explainEffect(command: Command, policy: Policy): string {
  const { effect, byRule } = classifyEffect(command, policy);
  const rules = (policy.effect_rules ?? []).flatMap((rule, at) =>
    rule.effect === effect && argvs(command).some((argv) => matchEffectRule(argv, rule) !== 'no')
      ? [`effect_rules[${at}]`]
      : [],
  );
  const by = byRule ? ` by ${rules[0] ?? 'effect_rules'}` : '';
  return `${effect}${by}, ${entryOf('allowed_effect_types', policy.allowed_effect_types, effect)}`;
}

function explainVariable(name: string, { allowed_env: names, set_env: own = {} }: Policy): string {
  if (Object.hasOwn(own, name)) return `set_env ${name}`;
  return names === undefined ? 'no allowed_env: any name' : entryOf('allowed_env', names, name);
}

function entryOf(member: string, entries: readonly string[], value: string): string {
  const at = entries.indexOf(value);
  return at < 0 ? `not in ${member}` : `${member}[${at}]`;
}

function prefixOf(member: string, prefixes: readonly string[], path: string): string {
  const at = prefixes.findIndex((prefix) => isCoveredBy(path, [prefix]));
  return at < 0 ? `below none of ${member}` : `${member}[${at}] ${prefixes[at]}`;
}

// A finding may be about a part of a member, as of one word of an argv.
function isAbout({ member }: Finding, of: string): boolean {
  return member === of || member.startsWith(`${of}[`);
}

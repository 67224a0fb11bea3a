import { isCoveredBy } from '../paths/index.ts';
import { type AllowRule, type ApprovalRule, isNamedProgram, type Policy } from '../policy/index.ts';
import { egressHostText } from '../schema/index.ts';
import { coversEgress } from './egress.ts';
import { coversRule } from './words.ts';

/** A rule of a policy that decides nothing, whatever is asked. */
export interface SilentRule {
  /** As in `allow[2]`. */
  readonly member: string;
  readonly message: string;
}

/** Finds the rules of a policy that can never speak: who wrote them meant something else, or may leave them out. */
export function findSilentRules(policy: Policy): SilentRule[] {
  return [
    ...silentPrefixes(policy),
    ...covered('allowed_cwd_prefixes', policy.allowed_cwd_prefixes),
    ...covered('allowed_read_prefixes', policy.allowed_read_prefixes),
    ...(policy.require_write_paths_empty
      ? all(
          'allowed_write_prefixes',
          policy.allowed_write_prefixes,
          'require_write_paths_empty refuses every write path',
        )
      : covered('allowed_write_prefixes', policy.allowed_write_prefixes)),
    ...silentHosts(policy),
    ...(policy.allow_secret_refs
      ? []
      : all('allowed_secret_names', policy.allowed_secret_names ?? [], 'allow_secret_refs is false')),
    ...silentAllow(policy.allow ?? []),
    ...silentEffects(policy),
    ...silentApprovals(policy),
    ...silentApprovalRules(policy),
    ...(policy.allowed_env ?? []).flatMap((name, at) =>
      Object.hasOwn(policy.set_env ?? {}, name)
        ? [say(`allowed_env[${at}]`, `set_env gives ${name} a value of its own`)]
        : [],
    ),
  ];
}

function say(member: string, message: string): SilentRule {
  return { member, message };
}

function all(member: string, entries: readonly unknown[], message: string): SilentRule[] {
  return entries.map((_, at) => say(`${member}[${at}]`, message));
}

function silentPrefixes({ allow_commands: programs, deny_argv_prefixes: prefixes }: Policy): SilentRule[] {
  return prefixes.flatMap((prefix, at) => {
    const member = `deny_argv_prefixes[${at}]`;
    const [program = ''] = prefix;
    if (!programs.includes(program))
      return [say(member, `${program} is not among allow_commands, so that nothing begins so`)];
    const other = prefixes.findIndex(
      (it, index) =>
        index !== at &&
        (it.length < prefix.length || index < at) &&
        it.every((word, place) => prefix[place] === word),
    );
    return other < 0 ? [] : [say(member, `deny_argv_prefixes[${other}] denies it already`)];
  });
}

function covered(member: string, prefixes: readonly string[]): SilentRule[] {
  return prefixes.flatMap((prefix, at) => {
    const other = prefixes.findIndex(
      (it, index) => index !== at && isCoveredBy(prefix, [it]) && (index < at || !isCoveredBy(it, [prefix])),
    );
    return other < 0
      ? []
      : [say(`${member}[${at}]`, `${prefix} lies below ${member}[${other}], ${prefixes[other]}`)];
  });
}

function silentHosts({
  network,
  allowed_egress_hosts: hosts,
  policy_schema_version: version,
}: Policy): SilentRule[] {
  // Of v0.1 a name may also be what makes curl a payment.
  if (network === 'deny' && version !== 'csc.policy.v0.1')
    return all('allowed_egress_hosts', hosts, 'network is deny: nothing connects anywhere');
  return hosts.flatMap((entry, at) => {
    const other = hosts.findIndex(
      (it, index) => index !== at && coversEgress(it, entry) && (index < at || !coversEgress(entry, it)),
    );
    return other < 0
      ? []
      : [
          say(
            `allowed_egress_hosts[${at}]`,
            `${egressHostText(entry)} is part of allowed_egress_hosts[${other}]`,
          ),
        ];
  });
}

function silentAllow(rules: readonly AllowRule[]): SilentRule[] {
  return rules.flatMap((rule, at) => {
    const asked = rule.subcommands ?? [undefined];
    const others = rules.filter(
      (it, index) => index !== at && it.program === rule.program && (index < at || !isWithin(it, rule)),
    );
    const isCovered = asked.every((subcommand) => others.some((it) => coversRule(it, rule, subcommand)));
    const useless =
      rule.options === undefined
        ? []
        : (rule.deny_options ?? []).filter((it) => !rule.options?.some((option) => it.startsWith(option)));
    return [
      ...(isCovered
        ? [say(`allow[${at}]`, 'the other rules of its program let through all that it does')]
        : []),
      ...useless.map((it) =>
        say(
          `allow[${at}].deny_options`,
          `${it} is not among its options, and so refused anyway, unless it is a harmless one of the program itself`,
        ),
      ),
    ];
  });
}

function isWithin(inner: AllowRule, outer: AllowRule): boolean {
  return (inner.subcommands ?? [undefined]).every((it) => coversRule(outer, inner, it));
}

function silentEffects({ allow_commands: programs, effect_rules: rules = [] }: Policy): SilentRule[] {
  return rules.flatMap((rule, at) => {
    const member = `effect_rules[${at}]`;
    if (!programs.some((it) => isNamedProgram(it, rule.program)))
      return [say(member, `${rule.program} is not among allow_commands`)];
    const settled = rules.findIndex(
      (it, index) =>
        index < at &&
        it.subcommands === undefined &&
        it.any_word === undefined &&
        programs
          .filter((program) => isNamedProgram(program, rule.program))
          .every((program) => isNamedProgram(program, it.program)),
    );
    return settled < 0
      ? []
      : [say(member, `effect_rules[${settled}] settles every argv of ${rule.program} before it`)];
  });
}

function possibleEffects(policy: Policy): ReadonlySet<string> {
  const { allowed_effect_types: types, effect_rules: rules = [], allow_commands: programs } = policy;
  return new Set<string>([
    ...types,
    // A rule's effect that is not allowed is refused, and an approval does not help.
    ...rules.map(({ effect }) => effect).filter((it) => types.some((type) => type === it)),
    ...(programs.includes('curl') ? ['fetch_external', 'financial_action'] : []),
  ]);
}

function silentApprovals(policy: Policy): SilentRule[] {
  const possible = possibleEffects(policy);
  return policy.manual_approval_for_classified_effect_types.flatMap((it, at) =>
    possible.has(it)
      ? []
      : [
          say(
            `manual_approval_for_classified_effect_types[${at}]`,
            `nothing that is allowed has the effect ${it}, so that nobody is asked`,
          ),
        ],
  );
}

/** Rules that are for nothing that is allowed, or ask nobody whom another does not ask for all of it. */
function silentApprovalRules(policy: Policy): SilentRule[] {
  const { approvals: rules = [], allow_commands: programs, allowed_risk_classes: risks } = policy;
  const possible = possibleEffects(policy);
  return rules.flatMap((rule, at) => {
    const member = `approvals[${at}]`;
    if (rule.effects?.every((it) => !possible.has(it)) === true)
      return [say(member, `nothing that is allowed has the effect ${rule.effects.join(' or ')}`)];
    if (rule.risk_classes?.every((it) => !risks.includes(it)) === true)
      return [say(member, `no contract of risk ${rule.risk_classes.join(' or ')} is allowed`)];
    if (rule.programs?.every((it) => !programs.includes(it)) === true)
      return [say(member, `${rule.programs.join(' and ')} is not among allow_commands`)];
    const other = rules.findIndex(
      (it, index) => index !== at && asksAll(it, rule) && (index < at || !asksAll(rule, it)),
    );
    return other < 0 ? [] : [say(member, `approvals[${other}] asks as many of the same groups already`)];
  });
}

function asksAll(outer: ApprovalRule, inner: ApprovalRule): boolean {
  const covers = (some: readonly string[] | undefined, others: readonly string[] | undefined): boolean =>
    some === undefined || (others?.every((it) => some.includes(it)) ?? false);
  return (
    covers(outer.effects, inner.effects) &&
    covers(outer.risk_classes, inner.risk_classes) &&
    covers(outer.programs, inner.programs) &&
    inner.quorum.every(({ group, count }) =>
      outer.quorum.some((it) => it.group === group && it.count >= count),
    )
  );
}

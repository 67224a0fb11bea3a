import { argvs, type Command, effectTypes } from '../contract/index.ts';
import type { EffectRule, Policy } from '../policy/index.ts';
import { egressHostText, egressName } from '../schema/index.ts';
import { matchEffectRule } from './match-effect-rule.ts';

/** What a command is taken to do. */
export interface Classification {
  /** One of the six effect types, `financial_action`, or a name of the policy's own. */
  readonly effect: string;
  /** Whether it is another than the proposed one because an effect rule says so. */
  readonly byRule: boolean;
}

/** Classifies a command; with its policy's effect rules where it has some, which only v0.2 can. */
export function classifyEffect(command: Command, policy: Policy): Classification {
  const effect = classifyProposal(command, policy);
  const { effect_rules: rules } = policy;
  if (rules === undefined) return { effect, byRule: false };
  const readings = argvs(command).map((argv) => readRules(argv, rules));
  const ruled = readings.flatMap(({ effects }) => effects);
  const { proposed_effect_type: proposed } = command;
  const furthest = furthestOf([
    // No rule makes less of what the protocol itself sees in curl.
    ...(effect === proposed ? [] : [effect]),
    ...(readings.every(({ settled }) => settled) ? [] : [proposed]),
    ...ruled,
  ]);
  return { effect: furthest, byRule: furthest !== proposed && ruled.includes(furthest) };
}

/** Protocol §3, step 2b: without rules it is what the contract proposes, save for curl. */
function classifyProposal(command: Command, policy: Policy): string {
  const [first = []] = argvs(command);
  if (first[0] !== 'curl') return command.proposed_effect_type;
  return paysBy(first.join(' '), policy) ? 'financial_action' : 'fetch_external';
}

interface Reading {
  readonly effects: readonly string[];
  /** A rule surely matched: nothing of what the contract proposes is left. */
  readonly settled: boolean;
}

/** What the rules make of one argv, up to the first that surely matches. */
function readRules(argv: readonly string[], rules: readonly EffectRule[]): Reading {
  const effects: string[] = [];
  for (const rule of rules) {
    const match = matchEffectRule(argv, rule);
    if (match !== 'no') effects.push(rule.effect);
    if (match === 'surely') return { effects, settled: true };
  }
  return { effects, settled: false };
}

const order: readonly string[] = effectTypes;

/** In the order of the effect types; any other name reaches further than all of them. */
function furthestOf([first = 'observe', ...rest]: readonly string[]): string {
  return rest.reduce((furthest, effect) => (reach(effect) > reach(furthest) ? effect : furthest), first);
}

function reach(effect: string): number {
  const index = order.indexOf(effect);
  return index < 0 ? order.length : index;
}

// Protocol §3, step 2b. A v0.2 entry may have a star and a port, and its name is one in any case: what occurs in an
// argv is the name, and a payment must not pass for a fetch because its policy says more exactly where it goes.
function paysBy(line: string, policy: Policy): boolean {
  const { allowed_egress_hosts: entries, policy_schema_version: version } = policy;
  if (version === 'csc.policy.v0.1')
    return entries.map(egressHostText).some((entry) => entry.includes('stripe') && line.includes(entry));
  const lowerLine = line.toLowerCase();
  const names = entries.map(egressName);
  return names.some((name) => name.includes('stripe') && lowerLine.includes(name));
}

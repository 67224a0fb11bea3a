import { argvs, type Command, effectTypes, riskClasses } from '../contract/index.ts';
import {
  describeQuorum,
  isDenial,
  judgeEffects,
  type WantedApprovals,
  wantedApprovals,
} from '../decision/index.ts';
import type { Policy } from '../policy/index.ts';
import type { Doubt } from './doubt.ts';
import { toKinds } from './effects.ts';
import { makeCommand, makeContract, type Variation } from './questions.ts';

/**
 * Where the new policy asks fewer people than the old one, or others. What is asked of a contract is, group by group, the most
 * that is asked of one of its commands, and that depends on nothing but the command's classified effect, its programs and the
 * risk class: a few commands stand for all. Where neither has rules, nobody is asked by groups.
 */
export function findApprovalDoubts(old: Policy, now: Policy): Doubt[] {
  if ((old.approvals ?? []).length === 0 || !canDiffer(old, now)) return [];
  const about = 'approvals, which ask fewer people than the old ones, or others';
  const kinds = toKinds(old, now, programsOf(old, now));
  if (kinds === undefined) return [{ about: `${about}; too many effect_rules to be compared`, tries: [] }];
  const firsts = kinds.map(({ samples: [first = []] }) => first);
  const thirds = hasSameEffects(old, now)
    ? []
    : firsts.filter(([it = '']) => programsOf(old, now).includes(it));
  if (firsts.length ** 2 * thirds.length > mostForms)
    return [{ about: `${about}; too many effect_rules to be compared`, tries: [] }];
  const forms = [
    // Of those that come to the same, some may be refused for another reason.
    ...kinds.flatMap(({ samples }) => samples.map((it) => [it])),
    ...firsts.flatMap((a) => firsts.map((b) => [a, b])),
    // Where the rules differ, one segment may reach furthest by the old, one by the new, and a third be the program
    // that is asked about.
    ...firsts.flatMap((a) => firsts.flatMap((b) => thirds.map((c) => [a, b, c]))),
  ];
  const byWhat = new Map<string, Variation[]>();
  for (const form of forms)
    for (const { gives, variation } of findFewer(form, old, now)) {
      const known = byWhat.get(gives);
      if (known === undefined) byWhat.set(gives, [variation]);
      else if (known.length < mostTries) known.push(variation);
    }
  return [...byWhat].map(([gives, tries]) => ({ about, gives, tries }));
}

const mostTries = 16;
const mostForms = 20_000;

function hasSameEffects(old: Policy, now: Policy): boolean {
  const [before, after] = [old, now].map((it) =>
    JSON.stringify([it.effect_rules, it.allowed_egress_hosts, it.policy_schema_version]),
  );
  return before === after;
}

// Most policies differ in something else.
function canDiffer(old: Policy, now: Policy): boolean {
  return JSON.stringify(old.approvals) !== JSON.stringify(now.approvals) || !hasSameEffects(old, now);
}

/** The programs of which rules make a difference. */
function programsOf(...policies: readonly Policy[]): string[] {
  return [
    ...new Set(policies.flatMap(({ approvals = [] }) => approvals.flatMap(({ programs = [] }) => programs))),
  ];
}

interface Fewer {
  readonly gives: string;
  readonly variation: Variation;
}

function findFewer(form: readonly (readonly string[])[], old: Policy, now: Policy): Fewer[] {
  const allowed = effectTypes.filter((it) => now.allowed_effect_types.includes(it));
  const risks = riskClasses.filter((it) => now.allowed_risk_classes.includes(it));
  return allowed.flatMap((proposed) => {
    const command: Command = { ...makeCommand(form, now), proposed_effect_type: proposed };
    // What is refused asks nobody.
    if (judgeEffects(command, now).some(isDenial)) return [];
    return risks.flatMap((risk) => {
      const contract = makeContract(command, now, { risk_class: risk });
      const [before, after] = [old, now].map((policy) => wantedApprovals(contract, { policy })) as [
        WantedApprovals,
        WantedApprovals,
      ];
      if (asksAsMuch(before, after)) return [];
      const gives = `${proposed} of risk ${risk} with the approval of ${describeQuorum(after.quorum)}, not of ${describeQuorum(before.quorum)}`;
      const argvsOfForm = argvs(command).map((it) => [...it]);
      return [
        {
          gives,
          variation: {
            argvs: argvsOfForm,
            command: { proposed_effect_type: proposed },
            contract: { risk_class: risk },
          },
        },
      ];
    });
  });
}

/** Whether whoever has what is asked after has what was asked before. */
function asksAsMuch(before: WantedApprovals, after: WantedApprovals): boolean {
  const now = new Map(after.quorum.map(({ group, count }) => [group, count]));
  return (
    after.people >= before.people &&
    before.quorum.every(({ group, count }) =>
      group === '' ? after.people >= count : (now.get(group) ?? 0) >= count,
    )
  );
}

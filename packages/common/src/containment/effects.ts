import { type Command, effectTypes } from '../contract/index.ts';
import {
  beginMatch,
  classifyEffect,
  endMatch,
  isDenial,
  judgeEffects,
  type Match,
  type MatchState,
  readWord,
  settleMatch,
} from '../decision/index.ts';
import type { EffectRule, Policy } from '../policy/index.ts';
import { egressHostText, egressName } from '../schema/index.ts';
import type { Doubt } from './doubt.ts';
import { makeCommand, type Variation } from './questions.ts';

/**
 * Where a command's classified effect is refused, or needs an approval, by the old policy and less so by the new one.
 * Every argv is as good as one of a few, by what the effect rules of both make of it; and of a pipeline the segment that
 * reaches furthest under the one, and that under the other, decide.
 */
export function findEffectDoubts(old: Policy, now: Policy): Doubt[] {
  if (!canDiffer(old, now)) return [];
  const kinds = toKinds(old, now);
  if (kinds === undefined)
    return [{ about: 'effect_rules, which are too many to be compared as a whole', tries: [] }];
  const alone = kinds.flatMap((kind) => findWeaker([kind], old, now));
  const weaker =
    alone.length > 0 ? alone : kinds.flatMap((a) => kinds.flatMap((b) => findWeaker([a, b], old, now)));
  if (weaker.length === 0) return findUnbound(kinds, old, now);
  const [{ before, after }] = weaker as [Weaker, ...Weaker[]];
  return [
    {
      about: `effects: ${before} of the old policy, ${after} of the new one`,
      tries: weaker.flatMap(({ variations }) => variations),
    },
  ];
}

// Where both make the same effect of every argv, fewer effects and more approvals let nothing more through: by far the most
// policies differ in something else.
function canDiffer(old: Policy, now: Policy): boolean {
  const rules = [old, now].map(({ effect_rules: list }) => JSON.stringify(list));
  const { manual_approval_for_classified_effect_types: approvals, allowed_effect_types: types } = old;
  return (
    rules[0] !== rules[1] ||
    old.policy_schema_version !== now.policy_schema_version ||
    paying(old).join() !== paying(now).join() ||
    approvals.some((it) => !now.manual_approval_for_classified_effect_types.includes(it)) ||
    now.allowed_effect_types.some((it) => !types.includes(it))
  );
}

/** Argvs that both policies' rules make the same of. */
interface Kind {
  readonly samples: readonly (readonly string[])[];
}

interface Weaker {
  readonly before: string;
  readonly after: string;
  readonly variations: readonly Variation[];
}

/** Where a submission had to name its host because of what a command does, and no more has to: what allows it stays the same. */
function findUnbound(kinds: readonly Kind[], old: Policy, now: Policy): Doubt[] {
  if (old.binding !== undefined || now.binding !== undefined) return [];
  const tries = [...kinds.map((it) => [it]), ...kinds.flatMap((a) => kinds.map((b) => [a, b]))].flatMap(
    (form) =>
      effectTypes.flatMap((proposed): Variation[] => {
        const argvs = form.map(({ samples: [first = []] }) => first);
        const command = { ...makeCommand(argvs, now), proposed_effect_type: proposed };
        const [before, after] = [old, now].map((policy) => classifyEffect(command, policy).effect);
        if (before !== 'deploy' || after === 'deploy' || judge(command, now) === 0) return [];
        return combine(form).map((it) => ({ argvs: it, command: { proposed_effect_type: proposed } }));
      }),
  );
  if (tries.length === 0) return [];
  const gives = 'any host for what deployed by the old effect_rules, under a submission that names none';
  return [{ about: 'effect_rules, by which less deploys', gives, tries }];
}

const verdicts = ['refused', 'with approval', 'allowed'] as const;

function findWeaker(kinds: readonly Kind[], old: Policy, now: Policy): Weaker[] {
  const argvs = kinds.map(({ samples: [first = []] }) => first);
  return effectTypes.flatMap((proposed) => {
    const command = { ...makeCommand(argvs, now), proposed_effect_type: proposed };
    const [before, after] = [judge(command, old), judge(command, now)];
    if (after <= before) return [];
    const variations = combine(kinds).map((it) => ({
      argvs: it,
      command: { proposed_effect_type: proposed },
    }));
    return [{ before: verdicts[before] ?? '', after: verdicts[after] ?? '', variations }];
  });
}

function combine([first, second]: readonly Kind[]): (readonly string[])[][] {
  const samples = first?.samples ?? [];
  if (second === undefined) return samples.map((it) => [it]);
  return samples.flatMap((a) => second.samples.map((b) => [a, b]));
}

/** What becomes of the effect alone: 0 to 2. */
function judge(command: Command, policy: Policy): number {
  const findings = judgeEffects(command, policy);
  if (findings.some(isDenial)) return 0;
  return findings.some(({ reasonCode }) => reasonCode === 'APPROVAL_REQUIRED') ? 1 : 2;
}

const mostKinds = 150;
const samplesOfKind = 8;

/**
 * Undefined where they are too many.
 * @param apart programs of which an argv is of a kind of its own
 */
export function toKinds(old: Policy, now: Policy, apart: readonly string[] = []): Kind[] | undefined {
  const kinds = new Map<string, string[][]>();
  const add = (key: string, argv: string[]): void => {
    const samples = kinds.get(key);
    if (samples === undefined) kinds.set(key, [argv]);
    else if (samples.length < samplesOfKind) samples.push(argv);
  };
  const curls = ['', ...paying(old, now)].map((host) => ['curl', host === '' ? 'x' : `https://${host}/`]);
  for (const program of now.allow_commands) {
    const isWhole = exploreProgram(
      program,
      [old.effect_rules ?? [], now.effect_rules ?? []],
      (key, words) => {
        const own = apart.includes(program) ? `${program} ` : '';
        if (program !== 'curl') add(own + key, [program, ...words]);
        else
          for (const [at, [, url = '']] of curls.entries())
            add(`${own}curl ${at} ${key}`, [program, ...words, url]);
      },
    );
    if (!isWhole) return undefined;
  }
  return kinds.size > mostKinds ? undefined : [...kinds.values()].map((samples) => ({ samples }));
}

/** The names by which either policy takes curl for a payment (protocol §3, step 2b). */
function paying(...policies: readonly Policy[]): string[] {
  const names = policies.flatMap(({ allowed_egress_hosts: hosts }) =>
    hosts.flatMap((it) => [egressHostText(it), egressName(it)]),
  );
  const found = names.filter((it) => it.includes('stripe'));
  // v0.1 tells letters of one case from those of the other.
  return [...new Set([...found, ...found.map((it) => it.toUpperCase())])];
}

const mostStates = 20_000;

/**
 * Visits all that the words of a program can come to under two lists of rules, each once with words that come to it.
 * False where that is too much. After words that lead to the same states, the same words lead to the same again.
 */
function exploreProgram(
  program: string,
  lists: readonly (readonly EffectRule[])[],
  visit: (key: string, words: readonly string[]) => void,
): boolean {
  const rules = lists.map((list) => list.filter((rule) => beginMatch(program, rule) !== undefined));
  const all = rules.flat();
  const alphabet = lettersOf(all);
  const begun = all.map((rule) => beginMatch(program, rule)).filter((it) => it !== undefined);
  const seen = new Map<
    string,
    { readonly states: readonly MatchState[]; readonly words: readonly string[] }
  >();
  seen.set(JSON.stringify(begun), { states: begun, words: [] });
  // A map gives what is added while it is walked.
  for (const { states, words } of seen.values()) {
    visit(describeEnd(states, rules), words);
    for (const letter of alphabet) {
      const next = states.map((state, at) => {
        const rule = all[at] as EffectRule;
        return settleMatch(readWord(state, letter, rule), rule);
      });
      const key = JSON.stringify(next);
      if (seen.has(key)) continue;
      if (seen.size >= mostStates) return false;
      seen.set(key, { states: next, words: [...words, letter] });
    }
  }
  return true;
}

/** The effects of each list, up to the first rule that surely matches: what classifyEffect goes by. */
function describeEnd(states: readonly MatchState[], rules: readonly (readonly EffectRule[])[]): string {
  let at = 0;
  return JSON.stringify(
    rules.map((list) => {
      const told: string[] = [];
      let isSettled = false;
      for (const rule of list) {
        const state = states[at++];
        const match: Match = state === undefined || isSettled ? 'no' : endMatch(state, rule);
        if (match !== 'no') told.push(rule.effect);
        isSettled ||= match === 'surely';
      }
      return [[...new Set(told)].sort(), isSettled];
    }),
  );
}

/** Words of which rules can tell one from the other; any other is as good as one of them. */
function lettersOf(rules: readonly EffectRule[]): string[] {
  const words = rules.flatMap(({ subcommands = [] }) => subcommands.flatMap((it) => it.split(' ')));
  const flags = rules.flatMap(({ flags: own = [] }) => own);
  const entries = rules.flatMap(({ any_word: own = [] }) => own);
  const long = entries.filter((it) => it.startsWith('--') && !it.endsWith('*'));
  const short = entries.filter((it) => /^-[^-]$/u.test(it)).map((it) => it.slice(1));
  const others = entries.filter((it) => it.endsWith('*')).map((it) => it.slice(0, -1));
  const letters = [
    ...words,
    ...flags,
    ...entries.filter((it) => !it.endsWith('*')),
    ...others.flatMap((it) => [it, `${it}x`]),
    ...long.flatMap((it) => [...it].map((_, at) => it.slice(0, at + 1)).filter((part) => part.length > 2)),
    ...long.map((it) => `${it}=x`),
    ...short.map((it) => `-${it}`),
    `-${[...new Set(short)].join('')}`,
    'another-word',
    '-',
    '-Z',
    '--another-option',
    '--another=x',
    '',
  ];
  return [...new Set(letters)];
}

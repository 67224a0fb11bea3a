import { type EffectRule, isNamedProgram } from '../policy/index.ts';

/**
 * Whether a rule is about an argv. `possibly`: it depends on which options take the next word as their value, which
 * only the program knows.
 */
export type Match = 'no' | 'possibly' | 'surely';

/** Holds an argv against a rule. A rule with any_word never matches surely, as a word may also be an option's value. */
export function matchEffectRule([program = '', ...words]: readonly string[], rule: EffectRule): Match {
  const begun = beginMatch(program, rule);
  if (begun === undefined) return 'no';
  return endMatch(
    words.reduce((state, word) => readWord(state, word, rule), begun),
    rule,
  );
}

/** What a rule makes of an argv by the words that were read so far. Two that are equal stay so, whatever comes. */
export interface MatchState {
  /** One of any_word was there; true for a rule without. */
  readonly hasWord: boolean;
  /** One for each of the subcommands. Empty for a rule without. */
  readonly subcommands: readonly SubcommandState[];
  /** What the subcommands come to at least, whatever comes. */
  readonly least: Match;
}

interface SubcommandState {
  readonly found: boolean;
  readonly missed: boolean;
  /** The readings that go on: how many words of the subcommand are there, and whether the next word is an option's. */
  readonly open: readonly string[];
}

/** Before the words behind the program; undefined where the rule is about another one. */
export function beginMatch(program: string, rule: EffectRule): MatchState | undefined {
  if (!isNamedProgram(program, rule.program)) return undefined;
  const state = { found: false, missed: false, open: [place(0, false)] };
  return {
    hasWord: rule.any_word === undefined,
    subcommands: (rule.subcommands ?? []).map(() => state),
    least: 'no',
  };
}

export function readWord(state: MatchState, word: string, rule: EffectRule): MatchState {
  const { any_word: entries = [], subcommands: names = [], flags = [] } = rule;
  return {
    least: state.least,
    hasWord: state.hasWord || entries.some((entry) => isWord(word, entry)),
    subcommands: state.subcommands.map((it, index) =>
      follow(it, word, names[index]?.split(' ') ?? [], flags),
    ),
  };
}

/** After the last word. */
export function endMatch({ hasWord, subcommands, least }: MatchState, rule: EffectRule): Match {
  if (!hasWord) return 'no';
  const most = rule.any_word === undefined ? 'surely' : 'possibly';
  if (rule.subcommands === undefined) return most;
  const matches = subcommands.map(({ found, missed, open }) => {
    if (!found) return 'no';
    return missed || open.length > 0 ? 'possibly' : most;
  });
  if (least === 'surely' || matches.includes('surely')) return 'surely';
  return least === 'possibly' || matches.includes('possibly') ? 'possibly' : 'no';
}

/**
 * The same state without what can make no difference any more, so that argvs of which a rule makes the same are seen to be the
 * same: else every set of subcommands that may have been met is a state of its own.
 */
export function settleMatch(state: MatchState, rule: EffectRule): MatchState {
  if (rule.subcommands === undefined) return state;
  const { subcommands, hasWord } = state;
  const isSure =
    rule.any_word === undefined &&
    subcommands.some(({ found, missed, open }) => found && !missed && open.length === 0);
  if (isSure || state.least === 'surely')
    return { hasWord, least: 'surely', subcommands: subcommands.map(() => over) };
  // A reading that missed stays, and with any_word no match is sure: then it is possible, and stays no more than that.
  const isCapped = ({ missed }: SubcommandState): boolean => missed || rule.any_word !== undefined;
  const isPossible = state.least === 'possibly' || subcommands.some((it) => it.found && isCapped(it));
  const isOver = (it: SubcommandState): boolean =>
    isCapped(it) ? isPossible || it.open.length === 0 : it.open.length === 0;
  return {
    hasWord,
    least: isPossible ? 'possibly' : 'no',
    subcommands: subcommands.map((it) => (isOver(it) ? over : it)),
  };
}

const over: SubcommandState = { found: false, missed: false, open: [] };

/** More than exactly the option counts: such a rule only raises. */
function isWord(word: string, entry: string): boolean {
  if (entry.endsWith('*')) return word.startsWith(entry.slice(0, -1));
  const [long = ''] = word.split('=', 1);
  if (entry.startsWith('--')) return long.length > 2 && entry.startsWith(long);
  if (/^-.$/u.test(entry)) return /^-[^-]/.test(word) && word.includes(entry.slice(1));
  return word === entry;
}

const place = (had: number, skips: boolean): string => `${had}${skips ? '+' : ''}`;

/** Follows every reading of the options at once. */
function follow(
  { found, missed, open }: SubcommandState,
  word: string,
  wanted: readonly string[],
  flags: readonly string[],
): SubcommandState {
  if (open.length === 0) return { found, missed, open };
  const next = new Set<string>();
  const end = { found, missed };
  for (const at of open) {
    const had = Number.parseInt(at, 10);
    if (at.endsWith('+')) next.add(place(had, false));
    else if (word.startsWith('-')) {
      next.add(place(had, false));
      // It takes the next word, or it does not.
      if (!flags.includes(word) && !(word.startsWith('--') && word.includes('='))) next.add(place(had, true));
    } else if (word !== wanted[had]) end.missed = true;
    else if (had + 1 === wanted.length) end.found = true;
    else next.add(place(had + 1, false));
  }
  return { ...end, open: [...next].sort() };
}

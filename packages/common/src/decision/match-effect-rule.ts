import type { EffectRule } from '../policy/index.ts';

/** Whether a rule is about an argv. `possibly`: it depends on which options take the next word, which only their program knows. */
export type Match = 'no' | 'possibly' | 'surely';

/** Holds an argv against a rule. A rule with any_word never matches surely, as a word may also be an option's value. */
export function matchEffectRule(argv: readonly string[], rule: EffectRule): Match {
  const [program = '', ...words] = argv;
  const { subcommands, flags = [], any_word: entries } = rule;
  if (!isProgram(program, rule.program)) return 'no';
  if (entries !== undefined && !words.some((word) => entries.some((entry) => isWord(word, entry))))
    return 'no';
  const match = subcommands === undefined ? 'surely' : matchSubcommands(words, subcommands, flags);
  return match === 'surely' && entries !== undefined ? 'possibly' : match;
}

function isProgram(argv0: string, program: string): boolean {
  return argv0 === program || (!program.startsWith('/') && argv0.endsWith(`/${program}`));
}

/** More than exactly the option counts: such a rule only raises. */
function isWord(word: string, entry: string): boolean {
  if (entry.endsWith('*')) return word.startsWith(entry.slice(0, -1));
  const [long = ''] = word.split('=', 1);
  if (entry.startsWith('--')) return long.length > 2 && entry.startsWith(long);
  if (/^-.$/u.test(entry)) return /^-[^-]/.test(word) && word.includes(entry.slice(1));
  return word === entry;
}

function matchSubcommands(
  words: readonly string[],
  subcommands: readonly string[],
  flags: readonly string[],
): Match {
  const matches = subcommands.map((it) => matchInOrder(words, it.split(' '), flags));
  if (matches.includes('surely')) return 'surely';
  return matches.includes('possibly') ? 'possibly' : 'no';
}

/** Follows every reading of the options at once: a place is how many words are read, and how many of them were wanted. */
function matchInOrder(words: readonly string[], wanted: readonly string[], flags: readonly string[]): Match {
  let found = false;
  let missed = false;
  const places = new Map([['0 0', { at: 0, had: 0 }]]);
  // A map gives what is added while it is walked, and each place once.
  for (const { at, had } of places.values()) {
    const next = had === wanted.length ? 'found' : readNext(words[at], wanted[had], flags);
    if (next === 'found') found = true;
    else if (next === 'missed') missed = true;
    else
      for (const step of next)
        places.set(`${at + step.words} ${had + step.wanted}`, {
          at: at + step.words,
          had: had + step.wanted,
        });
  }
  if (!found) return 'no';
  return missed ? 'possibly' : 'surely';
}

type Step = { readonly words: number; readonly wanted: number };

function readNext(
  word: string | undefined,
  wanted: string | undefined,
  flags: readonly string[],
): 'missed' | readonly Step[] {
  if (word === undefined) return 'missed';
  if (!word.startsWith('-')) return word === wanted ? [{ words: 1, wanted: 1 }] : 'missed';
  const flag = { words: 1, wanted: 0 };
  const alone = flags.includes(word) || (word.startsWith('--') && word.includes('='));
  return alone ? [flag] : [flag, { words: 2, wanted: 0 }];
}

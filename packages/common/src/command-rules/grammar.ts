import { posix } from 'node:path';

/** How a program reads the options before its operands, in the terms of getopt(3). */
export interface Grammar {
  /**
   * The letters after one dash, several to a word: `c` is a flag, `c:` takes the rest of the word or the next word,
   * `c::` at most the rest of the word. `c;` differs from one program of a family to another: it may be a flag, take
   * the rest of the word or the next word, or take the next word while the letters after it still count.
   */
  readonly short: string;
  /**
   * Long options, apart by spaces: `name` is a flag, `name=` takes `=value` or the next word, `name?` at most `=value`;
   * `name*` are all flags that begin so.
   */
  readonly long?: string;
  /** What a letter takes of the rest of its word, as in perl's `-0777ne`; the letters after it still count. */
  readonly attached?: Readonly<Record<string, RegExp>>;
  /** Long options may be cut short, as with getopt_long(3). */
  readonly abbreviations?: true;
  /** One dash does for a long option too. */
  readonly singleDash?: true;
  /** `+c` is an option as well. */
  readonly plus?: true;
  /** A lone `-`: a flag, or the end of the options. Absent: an operand. */
  readonly dash?: 'flag' | 'end';
  /** `-19` is an option as well. */
  readonly numeric?: true;
  /** Options, as in `-c -m`, that are the last: what follows their value belongs to what they run. */
  readonly last?: string;
  /** Options are read after operands too. */
  readonly permutes?: true;
  /** What to make of an option that is not listed. Absent: it may or may not take the next word, so both are looked at. */
  readonly unlisted?: 'flag';
}

/** Keeps what a function makes of the texts of the tables: there are some hundreds, and each is asked for often. */
function kept<T>(make: (text: string) => T): (text: string) => T {
  const made = new Map<string, T>();
  return (text) => {
    const found = made.get(text);
    if (found !== undefined) return found;
    const value = make(text);
    made.set(text, value);
    return value;
  };
}

/** The items of a list of a table, which is written as one text, apart by spaces. */
export const toList = kept((text): readonly string[] => text.split(/\s+/).filter((item) => item !== ''));

const toSet = kept((text): ReadonlySet<string> => new Set(toList(text)));

/** True where `name` is in a list that is written as one text. */
export function isListed(name: string, list: string | undefined): boolean {
  return list !== undefined && toSet(list).has(name);
}

/** What follows an option's name: nothing, at most something in the same word, or a value. */
export type Takes = 'nothing' | 'attached' | 'value' | 'next word';

/** How a letter is listed; undefined where it is not. */
export function takesOfLetter({ short }: Grammar, letter: string): Takes | undefined {
  const index = short.indexOf(letter);
  if (index < 0 || letter === ':' || letter === ';') return undefined;
  if (short.startsWith('::', index + 1)) return 'attached';
  if (short.startsWith(':', index + 1)) return 'value';
  return short.startsWith(';', index + 1) ? 'next word' : 'nothing';
}

/** Every long option that `name` may mean: the one of that name, or those that it is cut from. */
export function findLong({ long = '', abbreviations }: Grammar, name: string): readonly LongOption[] {
  const { byName, open } = toLongOptions(long);
  const own = byName.get(name);
  if (own !== undefined) return own;
  const begun: LongOption[] = open.some((start) => name.startsWith(start))
    ? [{ name, takes: 'nothing' }]
    : [];
  if (abbreviations === undefined || name === '') return begun;
  return [...begun, ...[...byName.values()].flat().filter((option) => option.name.startsWith(name))];
}

interface LongOption {
  readonly name: string;
  readonly takes: Takes;
}

/** A list of long options by their names, and what the names of others begin with. */
const toLongOptions = kept((long) => {
  const byName = new Map<string, readonly LongOption[]>();
  const open: string[] = [];
  for (const option of toList(long).map(readLong)) {
    if (option.name.endsWith('*')) open.push(option.name.slice(0, -1));
    else byName.set(option.name, [...(byName.get(option.name) ?? []), option]);
  }
  return { byName, open };
});

function readLong(entry: string): LongOption {
  if (entry.endsWith('=')) return { name: entry.slice(0, -1), takes: 'value' };
  if (entry.endsWith('?')) return { name: entry.slice(0, -1), takes: 'attached' };
  return { name: entry, takes: 'nothing' };
}

/** The file name of a program: `bash` of `/usr/bin/bash`. */
export function fileName(program: string): string {
  return posix.basename(program);
}

/** The names that a program of the tables has. */
export interface ProgramNames {
  test(name: string): boolean;
}

/**
 * Matches these file names (patterns, apart by spaces), also with a version or a build in them: `python3.11`,
 * `perl5.36-x86_64-linux-gnu`, `bash-static`. Says what one regular expression of them all would say; but there are
 * hundreds, and compiling them takes longer than all else that a decision takes. So names are read letter by letter, and
 * only those that end up at something more than letters are compiled.
 */
export function named(names: string): ProgramNames {
  return { test: (name) => toList(names).some((pattern) => matches(pattern, name, 0, 0)) };
}

const versionAndBuild = '(?:-?v?\\d+(?:\\.\\d+)*[a-z]?)?(?:-(?:dbg|static|minimal|\\w+-linux-\\w+))?$';
const restOfName = kept(() => new RegExp(`^${versionAndBuild}`));
const compiled = kept((pattern) => new RegExp(`^(?:${pattern})${versionAndBuild}`));

/** Whether the rest of a pattern, from `at`, matches the rest of a name, from `from`. */
function matches(pattern: string, name: string, at: number, from: number): boolean {
  if (at === pattern.length) return restOfName('').test(name.slice(from));
  const atom = readAtom(pattern, at);
  if (atom === undefined) return compiled(pattern).test(name);
  const { letters, optional, end } = atom;
  const letter = name[from];
  if (letter !== undefined && letters.includes(letter) && matches(pattern, name, end, from + 1)) return true;
  return optional && matches(pattern, name, end, from);
}

interface Atom {
  /** It is one of them. */
  readonly letters: string;
  readonly optional: boolean;
  /** Where the next one begins. */
  readonly end: number;
}

// A letter or a set of letters, which a question mark may follow; undefined for anything else that patterns can have.
function readAtom(pattern: string, at: number): Atom | undefined {
  const [, set, letter] = atomAt.exec(pattern.slice(at)) ?? [];
  const letters = set ?? letter;
  if (letters === undefined) return undefined;
  const behind = at + (set === undefined ? 1 : set.length + 2);
  const optional = pattern[behind] === '?';
  return { letters, optional, end: optional ? behind + 1 : behind };
}

const atomAt = /^(?:\[(\w+)\]|([\w-]))(?![*+{])/;

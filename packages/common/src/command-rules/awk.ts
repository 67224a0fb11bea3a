import { type Grammar, isListed } from './grammar.ts';
import { isStream } from './interpreters.ts';
import { joinLooks, nothingSeen, type Reader, seenCode } from './look.ts';
import { scanOptions } from './scan-options.ts';

// awk takes its program from argv by nature, and a policy that names it means that. Refused is what makes a wrapper of
// it: a program that can start others, which no policy could see.

const awk: Grammar = {
  short: 'bcChgIkMNOPrsStVF:v:f:e:E:i:l:W:d::D::L::o::p::',
  long: `file= field-separator= assign= source= exec= include= load= dump-variables? debug? lint? pretty-print? profile?
    bignum characters-as-bytes c traditional copyright gen-pot no-optimize optimize non-decimal-data posix re-interval
    sandbox help version`,
  abbreviations: true,
  last: '-E --exec',
};

export const readAwk: Reader = (words) => {
  const { options, operands, open } = scanOptions(words, awk);
  if (open !== undefined) return seenCode(words, 'options from input', open);
  const named = options.filter(({ name }) => isListed(name, '-f -E --file --exec'));
  // gawk(1): `-W source=…` is --source.
  const posix = options.flatMap(({ name, value }) =>
    name === '-W' && value !== undefined && /^s(?:o(?:u(?:r(?:ce?)?)?)?)?=/.test(value.text)
      ? [{ value }]
      : [],
  );
  const given = [...options.filter(({ name }) => isListed(name, '-e --source')), ...posix];
  const streamed = named.find(({ value }) => value !== undefined && isStream(value.text));
  if (streamed !== undefined) return seenCode(words, `stdin, by ${streamed.name}`, streamed.word);
  const programs =
    named.length + given.length > 0 ? given.map(({ value }) => value) : operands.map((place) => words[place]);
  return joinLooks(
    programs.map((word) =>
      word !== undefined && awkStartsProgram(word.text)
        ? seenCode(words, 'a program that starts others', word)
        : nothingSeen,
    ),
  );
};

// POSIX awk: `system(…)`, `print | "…"`, `"…" | getline`; gawk(1): `|&`, and `@f(…)`, which calls whatever f names.
const mayStartOthers = /system|@|\|/;

/**
 * True where an awk program has what starts other programs. It is read into words, strings, patterns and signs, in every
 * way that some awk reads it; a program that can be read in none counts as one that does.
 */
export function awkStartsProgram(program: string): boolean {
  if (!mayStartOthers.test(program)) return false;
  const readings = bracketRules.flatMap((rule) => readAll(program, rule));
  return readings.includes('starts programs') || readings.every((reading) => reading === 'unreadable');
}

// Within a bracket expression, a slash is the end to one awk (BWK awk, busybox) and a part to another, to which a
// backslash there may be a sign like any (POSIX) or an escape (gawk, mawk).
const bracketRules = ['none', 'plain', 'escaped'] as const;

type BracketRule = (typeof bracketRules)[number];
type Reading = 'starts programs' | 'harmless' | 'unreadable';

/** Where a reading stands. */
interface Place {
  readonly at: number;
  /** The last word or sign; `0` for any string, pattern, number or name. */
  readonly before: string;
  /** What is open, the innermost first: `(`, `[`, `{`, or `if` for the bracket of a condition. */
  readonly open: Open | undefined;
  readonly found: boolean;
}

interface Open {
  readonly sign: string;
  readonly outer: Open | undefined;
}

// Nobody divides by so many things of which it is not clear that they divide.
const mostReadings = 64;

/** Every reading of a program by one rule for brackets; a slash that may be either makes two of one. */
function readAll(program: string, rule: BracketRule): readonly Reading[] {
  const readings: Reading[] = [];
  const places: Place[] = [{ at: 0, before: '\n', open: undefined, found: false }];
  for (let place = places.pop(); place !== undefined; place = places.pop()) {
    if (readings.length + places.length > mostReadings) return ['starts programs'];
    const end = readOn(program, rule, place, places);
    readings.push(end);
  }
  return readings;
}

/** Reads to the end; the other readings of what may be two things are left in `others`. */
function readOn(program: string, rule: BracketRule, from: Place, others: Place[]): Reading {
  let place: Place | undefined = from;
  while (place !== undefined && place.at < program.length) {
    const kind: Slash | undefined = program[place.at] === '/' ? slashAfter(place.before) : undefined;
    if (kind === 'either') {
      const pattern = readPattern(program, place, rule);
      if (pattern !== undefined) others.push(pattern);
    }
    place = kind === 'pattern' ? readPattern(program, place, rule) : readToken(program, place);
  }
  if (place === undefined || place.open !== undefined) return 'unreadable';
  return place.found ? 'starts programs' : 'harmless';
}

// A line that goes on is one line.
const blank = /(?:[ \t\r]|\\\r?\n)+|#[^\n]*/y;
const string = /"(?:[^"\\\n]|\\[\s\S])*"/y;
const word = /[A-Za-z_]\w*|\d[\w.]*|\.\d\w*/y;
const sign = /\+\+|--|\|\||&&|[\s\S]/y;

function readToken(program: string, place: Place): Place | undefined {
  const space = readAt(blank, program, place.at);
  if (space !== undefined) return { ...place, at: place.at + space.length };
  const text = readAt(string, program, place.at);
  if (text !== undefined) return { ...place, at: place.at + text.length, before: '0' };
  const name = readAt(word, program, place.at);
  if (name !== undefined) return { ...place, ...afterName(name, place) };
  const token = readAt(sign, program, place.at) ?? '';
  const next = { ...place, at: place.at + token.length, before: token };
  if ('([{'.includes(token)) return { ...next, open: { sign: openedBy(token, place), outer: place.open } };
  if (')]}'.includes(token)) return close(next, token);
  switch (token) {
    case '"':
    case '\\':
      return undefined;
    case '\n':
      return { ...next, before: lineAfter(place) };
    case '@':
      // gawk(1): a pattern that is a value.
      return { ...next, found: place.found || program[next.at] !== '/' };
    default:
      return { ...next, found: place.found || token === '|' };
  }
}

function readAt(rule: RegExp, program: string, at: number): string | undefined {
  rule.lastIndex = at;
  return rule.exec(program)?.[0];
}

const keywords = /^(?:print|printf|return|exit|else|do|in|case|getline|length|if|while|for|switch)$/;

function afterName(name: string, { at, found }: Place): Partial<Place> {
  return {
    at: at + name.length,
    before: keywords.test(name) ? name : '0',
    found: found || name === 'system',
  };
}

function openedBy(token: string, { before }: Place): string {
  return token === '(' && /^(?:if|while|for|switch)$/.test(before) ? 'if' : token;
}

const closes: Readonly<Record<string, string>> = { '(': ')', if: ')', '[': ']', '{': '}' };

function close(place: Place, token: string): Place | undefined {
  const { open } = place;
  if (open === undefined || closes[open.sign] !== token) return undefined;
  // After a condition comes a statement, after any other bracket an operator.
  const before = token === '}' || open.sign === 'if' ? '\n' : '0';
  return { ...place, before, open: open.outer };
}

// Not every awk ends an expression at the end of a line within brackets.
function lineAfter({ before, open }: Place): string {
  const within = open !== undefined && open.sign !== '{';
  return within && slashAfter(before) === 'divides' ? 'getline' : '\n';
}

/** A slash divides or begins a pattern; after some words it does one in some awks, and the other in others. */
type Slash = 'divides' | 'pattern' | 'either';

function slashAfter(before: string): Slash {
  if (before === 'getline' || before === 'length') return 'either';
  return before === '0' || before === '++' || before === '--' ? 'divides' : 'pattern';
}

/** Passes over a pattern; undefined where it does not end on its line. */
function readPattern(program: string, place: Place, rule: BracketRule): Place | undefined {
  let at = place.at + 1;
  while (at < program.length && program[at] !== '\n') {
    const char = program[at];
    if (char === '/') return { ...place, at: at + 1, before: '0' };
    if (char === '[' && rule !== 'none') at = afterBracket(program, at, rule);
    else at += char === '\\' ? 2 : 1;
  }
  return undefined;
}

const classes = /\[([:.=])[^\n]*?\1\]/y;

/** The place after a bracket expression; the end of the program where it does not end on its line. */
function afterBracket(program: string, from: number, rule: BracketRule): number {
  let at = from + 1;
  if (program[at] === '^') at += 1;
  // `]` is itself where it comes first.
  if (program[at] === ']') at += 1;
  while (at < program.length && program[at] !== '\n') {
    const char = program[at];
    if (char === ']') return at + 1;
    if (char === '\\' && rule === 'escaped') at += 2;
    else at += (char === '[' ? readAt(classes, program, at)?.length : undefined) ?? 1;
  }
  return program.length;
}

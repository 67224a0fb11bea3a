import { type Grammar, isListed } from './grammar.ts';
import { isStream } from './interpreters.ts';
import { joinLooks, type Look, nothingSeen, type Reader, seenCode, type Word } from './look.ts';
import { scanOptions } from './scan-options.ts';

// awk and sed take their programs from argv by nature, and a policy that names them means that. Refused is what makes
// wrappers of them: a program that can start others, which no policy could see.

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
  const given = options.filter(({ name }) => isListed(name, '-e --source'));
  const streamed = named.find(({ value }) => value !== undefined && isStream(value.text));
  if (streamed !== undefined) return seenCode(words, `stdin, by ${streamed.name}`, streamed.word);
  const programs =
    named.length + given.length > 0 ? given.map(({ value }) => value) : operands.map((place) => words[place]);
  return seeProgram(words, programs, awkStartsProgram);
};

const sed: Grammar = {
  short: 'bnrsuzEe:f:l:i::I::',
  long: `expression= file= line-length= in-place? quiet silent debug follow-symlinks posix regexp-extended separate sandbox
    unbuffered null-data zero-terminated binary help version`,
  abbreviations: true,
  permutes: true,
};

export const readSed: Reader = (words) => {
  const { options, operands, open } = scanOptions(words, sed);
  if (open !== undefined) return seenCode(words, 'options from input', open);
  const streamed = options.find(
    ({ name, value }) => isListed(name, '-f --file') && value !== undefined && isStream(value.text),
  );
  if (streamed !== undefined) return seenCode(words, `stdin, by ${streamed.name}`, streamed.word);
  // sed(1): refuses by itself what starts programs.
  if (options.some(({ name }) => name === '--sandbox')) return nothingSeen;
  const given = options.filter(({ name }) => isListed(name, '-e --expression'));
  if (given.length > 0) {
    // Each is a line or more of one script.
    const script = given.map(({ value }) => value?.text ?? '').join('\n');
    return startsProgram(script)
      ? seenCode(words, 'a script that starts programs', given[0]?.word)
      : nothingSeen;
  }
  if (options.some(({ name }) => isListed(name, '-f --file'))) return nothingSeen;
  return seeProgram(
    words,
    operands.slice(0, 1).map((place) => words[place]),
    startsProgram,
  );
};

function seeProgram(
  words: readonly Word[],
  programs: readonly (Word | undefined)[],
  isBad: (text: string) => boolean,
): Look {
  return joinLooks(
    programs.map((word) =>
      word !== undefined && isBad(word.text)
        ? seenCode(words, 'a program that starts others', word)
        : nothingSeen,
    ),
  );
}

// POSIX awk: `system(…)`, `print | "…"`, `"…" | getline`; gawk(1): `|&`, and `@f(…)`, which calls whatever f names.
const startsOthers = /\bsystem\b|@|(?<!\|)\|(?!\|)/;
const mayStartOthers = /system|@|(?<!\|)\|(?!\|)/;

/** True where an awk program has what starts other programs; also where its strings and patterns cannot be told for sure. */
export function awkStartsProgram(program: string): boolean {
  if (!mayStartOthers.test(program)) return false;
  const code = withoutLiterals(program);
  return code === undefined || startsOthers.test(code);
}

// Each is read whole, from where the last one ended. A slash or a backslash within a bracket expression means different
// things to different awks.
const string = /"(?:[^"\\\n]|\\[\s\S])*"/y;
// A line that goes on is one line.
const blank = /(?:[ \t\r]|\\\r?\n)+/y;
const comment = /#[^\n]*/y;
const pattern = /\/(?:[^/\\[\n]|\\[^\n]|\[\^?\]?[^\]/\\\n]*\])*\//y;
const word = /[A-Za-z_]\w*|\d[\w.]*|\.\d\w*/y;

const keywords =
  /^(?:BEGIN|END|BEGINFILE|ENDFILE|function|func|if|else|while|for|do|break|continue|return|next|nextfile|exit|delete|in|getline|print|printf|switch|case|default)$/;

/** The code alone, a `0` for each string and pattern; undefined where it depends on the grammar which a slash is. */
function withoutLiterals(program: string): string | undefined {
  let code = '';
  let before = '';
  let open = 0;
  for (let at = 0; at < program.length; ) {
    const kind = program[at] === '/' ? slashAfter(before) : 'other';
    if (kind === 'unclear') return undefined;
    const space = readAt(blank, program, at);
    if (space !== undefined) {
      code += ' ';
      at += space.length;
      continue;
    }
    const rule = { '"': string, '#': comment }[program[at] ?? ''] ?? (kind === 'pattern' ? pattern : word);
    const text = readAt(rule, program, at);
    // A string or pattern without an end.
    if (text === undefined && rule !== word) return undefined;
    const token = text ?? program[at] ?? '';
    const literal = rule === string || rule === pattern;
    code += literal ? ' 0 ' : rule === comment ? ' ' : token;
    open += token === '(' || token === '[' ? 1 : token === ')' || token === ']' ? -1 : 0;
    // Not every awk ends an expression at the end of a line within brackets.
    if (open !== 0 && (token === '\n' || token === '\\')) return undefined;
    if (rule !== comment) before = literal ? '0' : tokenAfter(before, token);
    at += token.length;
  }
  return code;
}

function readAt(rule: RegExp, program: string, at: number): string | undefined {
  rule.lastIndex = at;
  return rule.exec(program)?.[0];
}

/** `++` and `--` are one, wherever their halves stand. */
function tokenAfter(before: string, token: string): string {
  return (token === '+' || token === '-') && before === token ? before + token : token;
}

/** Whether a slash divides or begins a pattern. After `)`, `++`, `$` and keywords only the grammar knows. */
function slashAfter(before: string): 'divides' | 'pattern' | 'unclear' {
  if (keywords.test(before) || /^(?:\)|\+\+|--|\$)$/.test(before)) return 'unclear';
  return /^[\w.]|^\]$/.test(before) ? 'divides' : 'pattern';
}

// A slash inside a bracket expression is a part of it; whether a backslash there is an escape differs from one sed to
// another. (A sed that took the slash for the end would refuse the pattern that it is left with.)
const bracketRules = ['plain', 'escaped'] as const;

type BracketRule = (typeof bracketRules)[number];

/**
 * True where a sed script has the command `e` or the flag `e` of `s` (GNU sed), each of which starts a program; also for
 * a script that cannot be read, since it may have.
 */
export function startsProgram(script: string): boolean {
  const readings = bracketRules.map((rule) => new SedReader(script, rule).read());
  return readings.includes('starts programs') || readings.every((reading) => reading === 'unreadable');
}

type Reading = 'starts programs' | 'harmless' | 'unreadable';

class SedReader {
  readonly #script: string;
  readonly #brackets: BracketRule;
  #at = 0;

  constructor(script: string, brackets: BracketRule) {
    this.#script = script;
    this.#brackets = brackets;
  }

  read(): Reading {
    while (this.#skip(/[\s;]*/y)) {
      if (this.#at >= this.#script.length) return 'harmless';
      if (!this.#readAddresses()) return 'unreadable';
      const reading = this.#readCommand(this.#script[this.#at++] ?? '');
      if (reading !== 'harmless') return reading;
    }
    return 'harmless';
  }

  /** Always true: what the pattern matches is passed over, if only nothing. */
  #skip(pattern: RegExp): true {
    pattern.lastIndex = this.#at;
    if (pattern.test(this.#script)) this.#at = pattern.lastIndex;
    return true;
  }

  /** `1`, `$`, `/pattern/I`, `\cpatternc`, `1~2`, two of them with a comma, `!`. */
  #readAddresses(): boolean {
    if (!this.#readAddress()) return false;
    this.#skip(/\s*/y);
    if (this.#script[this.#at] === ',') {
      this.#at += 1;
      this.#skip(/\s*[+~]?/y);
      if (!this.#readAddress()) return false;
    }
    return this.#skip(/[\s!]*/y);
  }

  #readAddress(): boolean {
    const char = this.#script[this.#at] ?? '';
    if (char === '/' || char === '\\') {
      this.#at += char === '/' ? 1 : 2;
      const delimiter = this.#script[this.#at - 1] ?? '';
      return this.#readPart(delimiter, true) && this.#skip(/[IM]*/y);
    }
    return this.#skip(/\d+(?:~\d+)?|\$/y);
  }

  #readCommand(command: string): Reading {
    switch (command) {
      case 'e':
        return 'starts programs';
      case 's':
        return this.#readSubstitute();
      case 'y':
        return this.#readParts(false);
      case 'a':
      case 'i':
      case 'c':
        // Text up to a line's end that no backslash precedes.
        this.#skip(/(?:[^\\\n]|\\[\s\S])*\n?/y);
        return 'harmless';
      case ':':
      case 'b':
      case 't':
      case 'T':
      case 'v':
        // A label ends at a space or a semicolon; where it goes on instead, what follows is looked at for nothing.
        this.#skip(/[ \t]*[^\s;]*/y);
        return 'harmless';
      case 'r':
      case 'R':
      case 'w':
      case 'W':
      case '#':
        this.#skip(/[^\n]*/y);
        return 'harmless';
      default:
        this.#skip(/[ \t]*\d*/y);
        return /[{}dDgGhHnNpPxz=FlLqQ]/.test(command) ? 'harmless' : 'unreadable';
    }
  }

  #readSubstitute(): Reading {
    const parts = this.#readParts(true);
    if (parts !== 'harmless') return parts;
    const from = this.#at;
    this.#skip(/[gpiImMe\d]*/y);
    if (this.#script.slice(from, this.#at).includes('e')) return 'starts programs';
    if (this.#script[this.#at] === 'w') this.#skip(/[^\n]*/y);
    return 'harmless';
  }

  #readParts(pattern: boolean): Reading {
    const delimiter = this.#script[this.#at++] ?? '';
    if (delimiter === '' || delimiter === '\n' || delimiter === '\\') return 'unreadable';
    const both = this.#readPart(delimiter, pattern) && this.#readPart(delimiter, false);
    return both ? 'harmless' : 'unreadable';
  }

  /** Passes over what ends at the delimiter; false where nothing does. */
  #readPart(delimiter: string, pattern: boolean): boolean {
    while (this.#at < this.#script.length) {
      const char = this.#script[this.#at++] ?? '';
      if (char === delimiter) return true;
      if (char === '\\') this.#at += 1;
      else if (char === '[' && pattern) this.#skipBracket();
    }
    return false;
  }

  /** Passes over a bracket expression; to the end of the script where it is never closed, which no sed accepts. */
  #skipBracket(): void {
    // `]` is itself where it comes first.
    this.#skip(/\^?\]?/y);
    while (this.#at < this.#script.length) {
      const char = this.#script[this.#at++] ?? '';
      if (char === ']') return;
      if (char === '\\' && this.#brackets === 'escaped') this.#at += 1;
      const kind = this.#script[this.#at] ?? '';
      if (char === '[' && /[:.=]/.test(kind)) this.#skipClass(`${kind}]`);
    }
  }

  /** `[:alpha:]`, whose `]` ends only itself. */
  #skipClass(end: string): void {
    const at = this.#script.indexOf(end, this.#at + 1);
    this.#at = at < 0 ? this.#script.length : at + end.length;
  }
}

import { type Grammar, isListed } from './grammar.ts';
import { isStream } from './interpreters.ts';
import { nothingSeen, type Reader, seenCode } from './look.ts';
import { scanOptions } from './scan-options.ts';

// sed takes its program from argv by nature, and a policy that names it means that. Refused is what makes a wrapper of
// it: a script that can start programs, which no policy could see.

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
  const script = words[operands[0] ?? words.length];
  return script !== undefined && startsProgram(script.text)
    ? seenCode(words, 'a script that starts programs', script)
    : nothingSeen;
};

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

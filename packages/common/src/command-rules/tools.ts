import { type Grammar, isListed, type ProgramNames, takesOfLetter } from './grammar.ts';
import { isStream } from './interpreters.ts';
import {
  joinLooks,
  type Look,
  madeFrom,
  nothingSeen,
  type Reader,
  seenCode,
  seenRun,
  type Word,
} from './look.ts';
import { type Option, scanOptions } from './scan-options.ts';

/** How the words of a tool are read: does an option bring code, or name a program? */
export function readTool(tool: Tool): Reader {
  return (given, { piped }) => {
    const words = tool.bundled ? unbundled(given, tool.grammar) : given;
    const { options, operands } = scanOptions(words, tool.grammar);
    const texts = operands.map((place) => words[place]?.text ?? '');
    return joinLooks([
      ...options.map((option) => seeOption(words, option, tool)),
      ...operands.map((place) => seeOperand(words, words[place], tool)),
      tool.operandsAreCode?.(texts) ? seenCode(words, 'operands', words[operands[0] ?? 0]) : nothingSeen,
      piped && readsPipe(options, texts.filter((text) => text !== '').length, tool)
        ? seenCode(words, 'stdin, a pipe', undefined)
        : nothingSeen,
    ]);
  };
}

function readsPipe(options: readonly Option[], operands: number, tool: Tool): boolean {
  const { stdin, code, files, instead, enough = Number.POSITIVE_INFINITY } = tool;
  if (stdin === undefined || operands >= enough) return false;
  return !options.some(({ name }) => [code, files, instead].some((list) => isListed(name, list)));
}

function seeOption(words: readonly Word[], option: Option, tool: Tool): Look {
  const { name, value, word } = option;
  if (isListed(name, tool.code) || tool.bringsCode?.(option) === true) return seenCode(words, name, word);
  if (value === undefined) return nothingSeen;
  if (isListed(name, tool.files) && isStream(value.text)) return seenCode(words, `stdin, by ${name}`, word);
  return isListed(name, tool.programs) ? seeProgram(words, name, value) : nothingSeen;
}

// What a shell and a plainProgram split at spaces read alike.
const plainProgram = /^[\w./+=,:@%-]+(?: +[\w./+=,:@%-]+)*$/;

/** A program and its arguments in one word, apart by spaces; code where it is more than that. */
export function seeProgram(words: readonly Word[], name: string, value: Word): Look {
  if (value.unknown || !plainProgram.test(value.text)) return seenCode(words, name, value);
  return seenRun(value.text.split(/ +/).map((text) => madeFrom(text, value)));
}

function seeOperand(words: readonly Word[], word: Word | undefined, { operandIsCode }: Tool): Look {
  if (word === undefined || operandIsCode?.(word.text) !== true) return nothingSeen;
  return seenCode(words, 'an operand', word);
}

/** `xIf zstd a.tar` as `-x -I zstd -f a.tar`. */
function unbundled(words: readonly Word[], grammar: Grammar): readonly Word[] {
  const [program, letters, ...rest] = words;
  if (program === undefined || letters === undefined || letters.text.startsWith('-')) return words;
  let taken = 0;
  const options = [...letters.text].flatMap((letter) => {
    const option = madeFrom(`-${letter}`, letters);
    if (takesOfLetter(grammar, letter) !== 'value') return [option];
    const value = rest[taken];
    taken += 1;
    return value === undefined ? [option] : [option, value];
  });
  return [program, ...options, ...rest.slice(taken)];
}

/** A program that is neither shell nor wrapper, but has an option that brings code or names a program. */
export interface Tool {
  readonly names: ProgramNames;
  readonly grammar: Grammar;
  /** Options whose value is code, apart by spaces. */
  readonly code?: string;
  readonly bringsCode?: (option: Option) => boolean;
  /** Options whose value is a program and its arguments, apart by spaces. */
  readonly programs?: string;
  /** Options whose value is a file that is run. */
  readonly files?: string;
  /** Whether an operand is code. */
  readonly operandIsCode?: (text: string) => boolean;
  /** Whether all operands together are code. */
  readonly operandsAreCode?: (texts: readonly string[]) => boolean;
  /** What it reads from a pipe can be code. */
  readonly stdin?: 'code';
  /** Options with which it does not read its stdin, beside `code` and `files`. */
  readonly instead?: string;
  /** With so many operands it does not read its stdin. */
  readonly enough?: number;
  /** A first word without a dash is letters too, whose values are the words after it: `tar xIf zstd a.tar`. */
  readonly bundled?: true;
}

import { type Grammar, isListed, takesOfLetter } from './grammar.ts';
import { joinLooks, type Look, nothingSeen, type Reader, seenCode, seenRun } from './look.ts';
import { isStream } from './read-interpreter.ts';
import { type Option, scanOptions } from './scan-options.ts';
import type { Tool } from './tools.ts';
import { madeFrom, type Word } from './word.ts';

/** How the words of a tool are read: does an option bring code, or name a program? */
export function readTool(tool: Tool): Reader {
  return (given) => {
    const words = tool.bundled ? unbundled(given, tool.grammar) : given;
    const { options, operands } = scanOptions(words, tool.grammar);
    return joinLooks([
      ...options.map((option) => seeOption(words, option, tool)),
      ...operands.map((place) => seeOperand(words, words[place], tool)),
    ]);
  };
}

function seeOption(words: readonly Word[], option: Option, tool: Tool): Look {
  const { name, value, word } = option;
  if (isListed(name, tool.code) || tool.bringsCode?.(option) === true) return seenCode(words, name, word);
  if (value === undefined) return nothingSeen;
  if (isListed(name, tool.files) && isStream(value.text)) return seenCode(words, `stdin, by ${name}`, word);
  return isListed(name, tool.programs) ? seeProgram(words, name, value) : nothingSeen;
}

// What a shell and a plain split at spaces read alike.
const plain = /^[\w./+=,:@%-]+(?: +[\w./+=,:@%-]+)*$/;

/** A program and its arguments in one word, apart by spaces; code where it is more than that. */
export function seeProgram(words: readonly Word[], name: string, value: Word): Look {
  if (value.unknown || !plain.test(value.text)) return seenCode(words, name, value);
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

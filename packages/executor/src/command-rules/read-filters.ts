import { awkStartsProgram } from './awk-program.ts';
import { type Grammar, isListed } from './grammar.ts';
import { joinLooks, type Look, nothingSeen, type Reader, seenCode } from './look.ts';
import { isStream } from './read-interpreter.ts';
import { scanOptions } from './scan-options.ts';
import { startsProgram } from './sed-script.ts';
import type { Word } from './word.ts';

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

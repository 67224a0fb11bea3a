import { type Grammar, isListed } from './grammar.ts';
import { joinLooks, type Look, type Reader, seenCode, seenRun, seenUnclear } from './look.ts';
import { takesFromInput } from './read-wrapper.ts';
import { scanOptions } from './scan-options.ts';
import type { Word } from './word.ts';

const xargs: Grammar = {
  short: '0oprtxa:d:E:e::I:i::J:L:l::n:P:R:S:s:',
  long: `null arg-file= delimiter= eof? replace? max-lines? max-args= open-tty max-procs= interactive process-slot-var=
    no-run-if-empty max-chars= show-limits verbose exit help version`,
  abbreviations: true,
};

/** What `xargs` runs, with words from its input at the end, or wherever its `-I` puts them. */
export const readXargs: Reader = (words) => {
  const { options, operands, unlisted, open } = scanOptions(words, xargs);
  const [unknown] = unlisted;
  if (unknown !== undefined)
    return seenUnclear(
      words,
      `is given ${unknown.name}, an option that this host does not know`,
      unknown.word,
    );
  if (open !== undefined) return takesFromInput(words, open);
  const replaced = options
    .filter(({ name }) => isListed(name, '-I -i -J --replace'))
    .map(({ value }) => value?.text ?? '{}');
  return joinLooks(operands.map((place) => runWithInput(words, words.slice(place), replaced)));
};

function runWithInput(words: readonly Word[], program: readonly Word[], replaced: readonly string[]): Look {
  const filled = program.map((word) => (holds(word, replaced) ? { ...word, unknown: true as const } : word));
  const [first] = filled;
  // With no program it is echo.
  if (first === undefined) return seenRun([]);
  if (first.unknown) return takesFromInput(words, first);
  return seenRun([...filled, { text: '…', at: first.at, unknown: true }]);
}

function holds({ text }: Word, marks: readonly string[]): boolean {
  return marks.some((mark) => text.includes(mark));
}

/** parallel(1) hands each command line to a shell, and without operands takes them from its input. */
export const readParallel: Reader = (words) => seenCode(words, 'operands that a shell reads', words[1]);

/** `eval` runs its operands as code. */
export const readEval: Reader = (words) => seenCode(words, 'its operands', words[1]);

/** What is run by a program that takes one after certain of its words and to the end: `ctest --test-command make`. */
export function readAfter(marks: string): Reader {
  return (words) => joinLooks(wordsAfter(words, marks).map(seenRun));
}

/** What is run by a program that takes one after certain of its words, up to a `;`: `find . -exec make ;`. */
export function readUpToSemicolon(marks: string): Reader {
  return (words) => joinLooks(wordsAfter(words, marks).map((rest) => runUpToEnd(words, rest)));
}

function wordsAfter(words: readonly Word[], marks: string): (readonly Word[])[] {
  return words.flatMap(({ text }, index) =>
    index > 0 && isListed(text, marks) ? [words.slice(index + 1)] : [],
  );
}

function runUpToEnd(words: readonly Word[], rest: readonly Word[]): Look {
  const end = rest.findIndex(
    ({ text }, index) => text === ';' || (text === '+' && rest[index - 1]?.text === '{}'),
  );
  const program = end < 0 ? rest : rest.slice(0, end);
  // find(1): names that come from a file may look like options, those that it found may not.
  const named = words.some(({ text }) => text === '-files0-from');
  const filled = program.map((word) =>
    named && word.text.includes('{}') ? { ...word, unknown: true as const } : word,
  );
  const [first] = filled;
  return first?.unknown ? takesFromInput(words, first) : seenRun(filled);
}

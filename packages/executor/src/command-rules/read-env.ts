import { isCodeVariable } from './code-variables.ts';
import { type Grammar, isListed } from './grammar.ts';
import { joinLooks, type Look, nothingSeen, type Reader, seenCode, seenRun, seenUnclear } from './look.ts';
import { takesFromInput, withoutAssignments } from './read-wrapper.ts';
import { type Option, scanOptions } from './scan-options.ts';
import { madeFrom, type Word } from './word.ts';

const grammar: Grammar = {
  short: 'i0vu:C:S:a:P:',
  long: `ignore-environment null unset= chdir= split-string= block-signal? default-signal? ignore-signal?
    list-signal-handling debug argv0= help version`,
  abbreviations: true,
  dash: 'flag',
};

/** What `env` runs: its `-S` writes a whole command line into one word, and what it sets may be code as well. */
export const readEnv: Reader = (words) => readWords(words, 0);

// Each level of `-S` undoes one of quoting.
const deepest = 8;

function readWords(words: readonly Word[], depth: number): Look {
  const { options, operands, unlisted, open } = scanOptions(words, grammar);
  const split = options.find(({ name }) => isListed(name, '-S --split-string'));
  if (split !== undefined) return readSplit(words, split, depth);
  const [unknown] = unlisted;
  if (unknown !== undefined)
    return seenUnclear(
      words,
      `is given ${unknown.name}, an option that this host does not know`,
      unknown.word,
    );
  if (open !== undefined) return takesFromInput(words, open);
  return joinLooks(operands.map((place) => readOperands(words, words.slice(place))));
}

function readOperands(words: readonly Word[], operands: readonly Word[]): Look {
  const program = withoutAssignments(operands);
  const [first] = program;
  const assigned = operands.slice(0, operands.length - program.length);
  return joinLooks([
    ...assigned.map((word) => seeVariable(words, word)),
    first?.unknown ? takesFromInput(words, first) : seenRun(program),
  ]);
}

function seeVariable(words: readonly Word[], word: Word): Look {
  const [name = '', ...value] = word.text.split('=');
  return isCodeVariable(name, value.join('=')) ? seenCode(words, `the variable ${name}`, word) : nothingSeen;
}

// Quotes, escapes, variables and comments in `-S` are not undone here: a program has words of its own for all that.
const plain = /^[^'"\\$#]*$/;

function readSplit(words: readonly Word[], { name, value, word }: Option, depth: number): Look {
  if (value === undefined) return nothingSeen;
  if (value.unknown) return takesFromInput(words, value);
  if (!plain.test(value.text) || depth >= deepest) return seenCode(words, name, word);
  const split = value.text.split(/\s+/).filter((text) => text !== '');
  const last = words.includes(value) ? words.indexOf(value) : words.indexOf(word);
  const env = words[0] ?? word;
  const made = split.map((text) => madeFrom(text, word));
  return readWords([env, ...made, ...words.slice(last + 1)], depth + 1);
}

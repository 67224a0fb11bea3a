import { transportOf } from './git-address.ts';
import { isHarmlessSetting, keyOf } from './git-settings.ts';
import type { GitSubcommand } from './git-subcommands.ts';
import { isListed } from './grammar.ts';
import { joinLooks, type Look, nothingSeen, seenCode, seenRun } from './look.ts';
import { seeProgram } from './read-tool.ts';
import { type Option, scanOptions } from './scan-options.ts';
import { madeFrom, type Word } from './word.ts';

/** What the options and addresses of a subcommand bring; the first of `given` is its name. */
export function readSubcommand(words: readonly Word[], given: readonly Word[], row: GitSubcommand): Look {
  const { grammar, codeWords, addresses, perl } = row;
  const rest = perl ? given.map(withLowerName) : given;
  const name = given[0]?.text ?? '';
  const { options, open } = scanOptions(rest, grammar);
  const bad = codeWords === undefined ? [] : rest.slice(1).filter(({ text }) => codeWords.test(text));
  return joinLooks([
    ...options.map((option) => seeOption(words, name, option, row)),
    ...bad.map((word) => seenCode(words, name, word)),
    ...(addresses ? rest.slice(1).map((word) => seeAddress(words, word)) : []),
    ...(open === undefined ? [] : [seenCode(words, `${name}, with options from input`, open)]),
  ]);
}

function seeOption(words: readonly Word[], subcommand: string, option: Option, row: GitSubcommand): Look {
  const { name, value, word } = option;
  const text = value?.text ?? '';
  const by = `${subcommand} ${name}`;
  if (isListed(name, row.code)) return seenCode(words, by, word);
  if (isListed(name, row.settings))
    return value?.unknown || !isHarmlessSetting(text, true)
      ? seenCode(words, `${by} ${keyOf(text)}`, word)
      : nothingSeen;
  // An empty one is none.
  if (isListed(name, row.templates) && text !== '') return seenCode(words, `${by}, with hooks`, word);
  if (value === undefined) return nothingSeen;
  if (isListed(name, row.strategies)) return seeStrategy(value);
  if (isListed(name, row.paths) && /^[/~]/.test(text)) return seenRun([value]);
  return isListed(name, row.programs) ? seeProgram(words, by, value) : nothingSeen;
}

// git-merge(1): these are its own; of any other name it looks for a program.
const ownStrategies = 'ort recursive resolve octopus ours subtree theirs';

function seeStrategy(value: Word): Look {
  return isListed(value.text, ownStrategies)
    ? nothingSeen
    : seenRun([madeFrom(`git-merge-${value.text}`, value)]);
}

function seeAddress(words: readonly Word[], word: Word): Look {
  const transport = transportOf(word);
  if (transport === undefined) return nothingSeen;
  return transport.kind === 'code'
    ? seenCode(words, transport.by, word)
    : seenRun([madeFrom(transport.program, word)]);
}

function withLowerName(word: Word): Word {
  const text = word.text.replace(/^--?[\w-]+/, (name) => name.toLowerCase());
  return { ...word, text };
}

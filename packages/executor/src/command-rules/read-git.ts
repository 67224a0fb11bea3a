import { gitRunners } from './git-runners.ts';
import { isHarmlessSetting, keyOf } from './git-settings.ts';
import { gitSubcommands } from './git-subcommands.ts';
import type { Grammar } from './grammar.ts';
import { joinLooks, type Look, nothingSeen, type Reader, seenCode } from './look.ts';
import { readSubcommand } from './read-git-subcommand.ts';
import { type Option, scanOptions } from './scan-options.ts';
import { madeFrom, type Word } from './word.ts';

const global: Grammar = {
  short: 'pPvhc:C:',
  long: `config-env= exec-path? git-dir= work-tree= namespace= super-prefix= attr-source= list-cmds= shallow-file=
    html-path man-path info-path paginate no-pager bare no-replace-objects no-lazy-fetch no-optional-locks no-advice
    literal-pathspecs glob-pathspecs noglob-pathspecs icase-pathspecs version help`,
};

/**
 * What `git` runs by its words alone. What a repository's own files say (hooks, .git/config) is no word of a contract:
 * that is for `set_env` of a policy, and in the end for the sandbox.
 */
export const readGit: Reader = (words) => {
  const { options, operands } = scanOptions(words, global);
  return joinLooks([
    ...options.map((option) => seeGlobal(words, option)),
    ...operands.map((place) => seeSubcommand(words, words.slice(place))),
  ]);
};

/** `git-NAME`, as it lies in git's own directory of programs, is `git NAME`. */
export const readDashedGit: Reader = (words, surroundings) => {
  const [program, ...rest] = words;
  if (program === undefined) return nothingSeen;
  const subcommand = program.text.replace(/^.*\/|^/, '').slice('git-'.length);
  return readGit([madeFrom('git', program), madeFrom(subcommand, program), ...rest], surroundings);
};

function seeGlobal(words: readonly Word[], { name, value, word }: Option): Look {
  const text = value?.text ?? '';
  if (name === '--exec-path' && text !== '') return seenCode(words, name, word);
  if (name !== '-c' && name !== '--config-env') return nothingSeen;
  return value?.unknown || !isHarmlessSetting(text, name === '-c')
    ? seenCode(words, `${name} ${keyOf(text)}`, word)
    : nothingSeen;
}

function seeSubcommand(words: readonly Word[], rest: readonly Word[]): Look {
  const [subcommand] = rest;
  if (subcommand === undefined) return nothingSeen;
  if (subcommand.unknown) return seenCode(words, 'options from input', subcommand);
  const { text } = subcommand;
  const runner = Object.hasOwn(gitRunners, text) ? gitRunners[text] : undefined;
  const row = Object.hasOwn(gitSubcommands, text) ? gitSubcommands[text] : undefined;
  return joinLooks([
    runner?.(words, rest) ?? nothingSeen,
    row === undefined ? nothingSeen : readSubcommand(words, rest, row),
  ]);
}

import { type GitSubcommand, gitSubcommands, isCodeSetting, isHarmlessSetting, keyOf } from './git-table.ts';
import { type Grammar, isListed } from './grammar.ts';
import {
  joinLooks,
  type Look,
  madeFrom,
  nothingSeen,
  type Reader,
  seenCode,
  seenRun,
  seenUnclear,
  type Word,
} from './look.ts';
import { type Option, scanOptions } from './scan-options.ts';
import { seeProgram } from './tools.ts';
import { takesFromInput } from './wrappers.ts';

const globalOptions: Grammar = {
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
  const { options, operands } = scanOptions(words, globalOptions);
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

/** What the options and addresses of a subcommand bring; the first of `given` is its name. */
function readSubcommand(words: readonly Word[], given: readonly Word[], row: GitSubcommand): Look {
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

// git(1) speaks these itself; for any other scheme, as for `NAME::…`, it runs `git-remote-NAME` (gitremote-helpers(7)).
const ownSchemes = /^(?:https?|ftps?|ssh|git|file|rsync|git\+ssh|ssh\+git)$/i;
const helperAddress = /^(?:--?[\w-]+=)?([a-z0-9][a-z0-9+.-]*)(::|:\/\/)/i;

/** What git would run to reach an address; undefined for one that it reaches by itself or by ssh. */
type Transport =
  /** `ext::COMMAND` (git-remote-ext(1)) and `fd::N` (git-remote-fd(1)): a command line, or what an open descriptor says. */
  { readonly kind: 'code'; readonly by: string } | { readonly kind: 'helper'; readonly program: string };

/** Reads an address, alone or as the value of a long option: `--remote=ext::…`. */
function transportOf({ text }: Pick<Word, 'text'>): Transport | undefined {
  const [, scheme = '', mark] = helperAddress.exec(text) ?? [];
  if (mark === undefined) return undefined;
  const name = scheme.toLowerCase();
  if (name === 'ext' || name === 'fd') return { kind: 'code', by: `${name}${mark}` };
  if (ownSchemes.test(name)) return undefined;
  return { kind: 'helper', program: `git-remote-${scheme}` };
}

/** Reads a subcommand: the words of git, and of those the ones from the subcommand on. */
type GitRunner = (words: readonly Word[], rest: readonly Word[]) => Look;

const noOptions = { short: '', unlisted: 'flag' } as const;

/** The subcommands of git that run their operands, or that are there to run something which is no part of git. */
const gitRunners: Readonly<Record<string, GitRunner>> = {
  bisect: readBisect,
  'bisect--helper': readBisect,
  config: readConfig,
  // Commands from its stdin.
  cvsserver: (words, [own]) => seenCode(words, 'cvsserver', own),
  'for-each-repo': readForEachRepo,
  hook: (words, [own, action, ...more]) =>
    action?.text === 'run' ? seenUnclear(words, 'runs a hook by hook run', more[0] ?? own) : nothingSeen,
  // git-maintenance(1): both change the user's crontab or systemd timers.
  maintenance: (_, [, action]) =>
    action !== undefined && isListed(action.text, 'start stop')
      ? seenRun([madeFrom('crontab', action)])
      : nothingSeen,
  'merge-index': readMergeIndex,
  'remote-ext': (words, [own]) => seenCode(words, 'remote-ext', own),
  shell: (words, [own]) => seenCode(words, 'shell', own),
  submodule: readSubmodule,
  'submodule--helper': readSubmodule,
};

function runGit([git]: readonly Word[], rest: readonly Word[]): Look {
  const [first] = rest;
  return git === undefined || first === undefined
    ? nothingSeen
    : seenRun([{ text: 'git', at: git.at }, ...rest]);
}

function readBisect(words: readonly Word[], [, action, ...more]: readonly Word[]): Look {
  const [first] = more;
  // `--bisect-run` was the helper's way to say it.
  if (action !== undefined && isListed(action.text, 'run --bisect-run')) {
    return first?.unknown ? takesFromInput(words, first) : seenRun(more);
  }
  if (action === undefined || first === undefined || !isListed(action.text, 'visualize view'))
    return nothingSeen;
  if (first.unknown) return takesFromInput(words, first);
  // Options are those of `git log`, `git…` and `tig` are programs, and anything else a subcommand.
  if (first.text.startsWith('-')) return nothingSeen;
  return /^git|^tig$/.test(first.text) ? seenRun(more) : runGit(words, more);
}

// What it does not know, older versions take for its own and refuse, and newer ones hand on.
function readForEachRepo(words: readonly Word[], rest: readonly Word[]): Look {
  const { operands, unlisted } = scanOptions(rest, {
    short: '',
    long: 'config= keep-going',
    abbreviations: true,
  });
  const places = [...unlisted.map(({ word }) => rest.indexOf(word)), ...operands];
  return joinLooks(places.map((place) => runGit(words, rest.slice(place))));
}

/** `git config alias.x CODE` runs nothing, but the next command does, and no file of the contract's shows what. */
function readConfig(words: readonly Word[], rest: readonly Word[]): Look {
  const { options, operands } = scanOptions(rest, {
    short: 'f:',
    long: `file= blob= type= default= get get-all get-regexp get-urlmatch list unset unset-all value= comment= url= add
      replace-all edit rename-section remove-section global system local worktree fixed-value`,
    abbreviations: true,
    unlisted: 'flag',
  });
  if (options.some(({ name }) => /^--(?:get|unset|remove|rename|list)/.test(name))) return nothingSeen;
  return joinLooks(
    operands.map((place) => {
      // `git config set KEY VALUE` since git 2.46, whose own options come after it.
      const own = rest.slice(place).filter(({ text }) => !text.startsWith('--'));
      const [key, value] = own[0]?.text === 'set' ? own.slice(1) : own;
      if (key === undefined || value === undefined || !isCodeSetting(key.text, value.text))
        return nothingSeen;
      return seenCode(words, `config ${key.text}`, key);
    }),
  );
}

// Part of git, and what git-merge-index(1) is meant for.
const ownMerge = 'git-merge-one-file';

function readMergeIndex(words: readonly Word[], rest: readonly Word[]): Look {
  const { operands } = scanOptions(rest, noOptions);
  return joinLooks(
    operands.map((place) => {
      const program = rest[place];
      if (program === undefined || program.text === ownMerge) return nothingSeen;
      if (program.unknown) return takesFromInput(words, program);
      return seenRun([program, { text: '…', at: program.at, unknown: true }]);
    }),
  );
}

function readSubmodule(words: readonly Word[], rest: readonly Word[]): Look {
  const { operands } = scanOptions(rest, noOptions);
  return joinLooks(
    operands.map((place) =>
      rest[place]?.text === 'foreach' ? seenCode(words, 'submodule foreach', rest[place]) : nothingSeen,
    ),
  );
}

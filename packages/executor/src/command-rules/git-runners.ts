import { isCodeSetting } from './git-settings.ts';
import { isListed } from './grammar.ts';
import { joinLooks, type Look, nothingSeen, seenCode, seenRun, seenUnclear } from './look.ts';
import { takesFromInput } from './read-wrapper.ts';
import { scanOptions } from './scan-options.ts';
import { madeFrom, type Word } from './word.ts';

/** Reads a subcommand: the words of git, and of those the ones from the subcommand on. */
export type GitRunner = (words: readonly Word[], rest: readonly Word[]) => Look;

const noOptions = { short: '', unlisted: 'flag' } as const;

/** The subcommands of git that run their operands, or that are there to run something which is no part of git. */
export const gitRunners: Readonly<Record<string, GitRunner>> = {
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

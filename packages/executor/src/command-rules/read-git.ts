import { type Grammar, isListed } from './grammar.ts';
import { joinLooks, type Look, nothingSeen, type Reader, seenCode, seenRun } from './look.ts';
import { type Option, scanOptions } from './scan-options.ts';
import type { Word } from './word.ts';

const global: Grammar = {
  short: 'pPvhc:C:',
  long: `config-env= exec-path? git-dir= work-tree= namespace= super-prefix= attr-source= list-cmds= html-path man-path
    info-path paginate no-pager bare no-replace-objects no-lazy-fetch no-optional-locks no-advice literal-pathspecs
    glob-pathspecs noglob-pathspecs icase-pathspecs version help`,
};

// Options of subcommands whose value a shell runs. Only those are looked for, so the others take nothing here.
const remote: Grammar = {
  short: 'u:',
  long: 'upload-pack= receive-pack= exec=',
  unlisted: 'flag',
  permutes: true,
};
const subcommands: Readonly<Record<string, { readonly grammar: Grammar; readonly code: string }>> = {
  clone: {
    grammar: { ...remote, short: 'u:c:o:b:j:', long: `${remote.long} config= origin= branch= template=` },
    code: '-u --upload-pack',
  },
  fetch: { grammar: { ...remote, short: 'j:' }, code: '--upload-pack' },
  pull: { grammar: { ...remote, short: 'j:' }, code: '--upload-pack' },
  'fetch-pack': { grammar: { ...remote, short: '' }, code: '--upload-pack --exec' },
  'ls-remote': { grammar: { ...remote, short: 'o:' }, code: '--upload-pack --exec' },
  archive: { grammar: { ...remote, short: 'o:' }, code: '--exec' },
  push: { grammar: { ...remote, short: 'o:' }, code: '--receive-pack --exec' },
  rebase: {
    grammar: { short: 'x:s:X:C:', long: 'exec= onto= strategy=', unlisted: 'flag', permutes: true },
    code: '-x --exec',
  },
  difftool: {
    grammar: { short: 'x:t:', long: 'extcmd= tool=', unlisted: 'flag', permutes: true },
    code: '-x --extcmd',
  },
  grep: {
    grammar: { short: 'e:f:A:B:C:m:O::', long: 'open-files-in-pager?', unlisted: 'flag', permutes: true },
    code: '-O --open-files-in-pager',
  },
  'filter-branch': {
    grammar: {
      short: 'd:',
      long: `setup= env-filter= tree-filter= index-filter= parent-filter= msg-filter= commit-filter= tag-name-filter=
        subdirectory-filter= original=`,
      unlisted: 'flag',
    },
    code: '--setup --env-filter --tree-filter --index-filter --parent-filter --msg-filter --commit-filter --tag-name-filter',
  },
};

/** What `git` runs by its words alone. What a repository's own files say (hooks, .git/config) is no word of a contract. */
export const readGit: Reader = (words) => {
  const { options, operands } = scanOptions(words, global);
  return joinLooks([
    ...options.map((option) => seeGlobal(words, option)),
    ...words.filter(({ text }) => /^ext::/i.test(text)).map((word) => seenCode(words, 'ext::', word)),
    ...operands.map((place) => seeSubcommand(words, words.slice(place))),
  ]);
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
  const [subcommand, first, ...more] = rest;
  if (subcommand === undefined) return nothingSeen;
  if (subcommand.unknown) return seenCode(words, 'options from input', subcommand);
  const { text } = subcommand;
  if (text === 'bisect' && first?.text === 'run') return seenRun(more);
  if (text === 'submodule' && rest.some((word) => word.text === 'foreach'))
    return seenCode(words, 'submodule foreach', subcommand);
  const known = Object.hasOwn(subcommands, text) ? subcommands[text] : undefined;
  if (known === undefined) return nothingSeen;
  // Long options may be cut short, as with getopt_long(3).
  const { options } = scanOptions(rest, { ...known.grammar, abbreviations: true });
  const bad = options.filter(
    ({ name, value }) =>
      isListed(name, known.code) ||
      (text === 'clone' && isListed(name, '-c --config') && !isHarmlessSetting(value?.text ?? '', true)),
  );
  return joinLooks(bad.map(({ name, word }) => seenCode(words, `${text} ${name}`, word)));
}

// Of git's settings, many name a program or a shell's code (git-config(1): alias, core.pager, core.sshCommand,
// credential.helper, diff.external, filter, gpg.program, …), and each release adds some. These do not.
const harmlessKeys = new RegExp(
  `^(?:${[
    '(?:user|author|committer|safe|color|column|advice|http|pack|log|status|fetch|push|pull|branch|checkout|clean)\\..+',
    '(?:commit|tag|rerere|format|blame|i18n|transfer|fsck|stash|add|apply|am|feature|index|repack|maintenance)\\..+',
    'core\\.(?:quotepath|autocrlf|eol|safecrlf|filemode|ignorecase|symlinks|precomposeunicode|longpaths|abbrev|bare)',
    'core\\.(?:compression|loosecompression|bigfilethreshold|preloadindex|untrackedcache|fscache|splitindex|whitespace)',
    'core\\.(?:checkstat|trustctime|commentchar|logallrefupdates|sharedrepository|excludesfile|multipackindex)',
    'core\\.(?:commitgraph|deltabasecachelimit|packedgit\\w+|warnambiguousrefs|protecthfs|protectntfs)',
    'diff\\.(?!external$|tool$|guitool$)[^.]+|merge\\.(?!tool$|guitool$)[^.]+|rebase\\.[^.]+|submodule\\.[^.]+',
    'gc\\.(?!recentobjectshook$).+|init\\.defaultbranch|versionsort\\..+',
  ].join('|')})$`,
);
const harmlessSettings =
  /^(?:(?:core\.pager|pager\..+)=(?:cat|false|)|core\.fsmonitor=(?:false|)|core\.hookspath=\/dev\/null|credential\.helper=)$/;

function isHarmlessSetting(setting: string, hasValue: boolean): boolean {
  const key = keyOf(setting);
  if (harmlessKeys.test(key)) return true;
  return hasValue && harmlessSettings.test(key + setting.slice(key.length));
}

/** In lower case: git compares all but a middle part so. */
function keyOf(setting: string): string {
  return (setting.split('=')[0] ?? '').toLowerCase();
}

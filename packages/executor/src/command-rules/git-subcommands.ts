import type { Grammar } from './grammar.ts';

/** What the options of a git subcommand can bring. Only those are listed, and those that look like them. */
export interface GitSubcommand {
  readonly grammar: Grammar;
  /** Options whose value a shell runs, apart by spaces. */
  readonly code?: string;
  /** Options whose value is a program and its arguments. */
  readonly programs?: string;
  /** Options whose value is a program where it is a path. */
  readonly paths?: string;
  /** Options whose value is a setting, as for `git -c`. */
  readonly settings?: string;
  /** Options whose value names a merge strategy, which is `git-merge-NAME`. */
  readonly strategies?: string;
  /** Options whose value is a directory of hooks. */
  readonly templates?: string;
  /** Some operand or value is the address of a repository. */
  readonly addresses?: true;
  /** Words that bring code in a form of their own. */
  readonly codeWords?: RegExp;
  /** Perl's Getopt::Long: options in any case, and with one dash. */
  readonly perl?: true;
}

// Long options may be cut short (gitcli(7)), and what is not listed takes nothing.
const any = { unlisted: 'flag', permutes: true, abbreviations: true } as const;
const remote = 'upload-pack= receive-pack= exec=';

const fetching: GitSubcommand = {
  grammar: { short: 'j:o:', long: `${remote} update-head-ok update-shallow`, ...any },
  code: '--upload-pack',
  addresses: true,
};
const sending: GitSubcommand = {
  grammar: { short: 'o:', long: remote, ...any },
  code: '--receive-pack --exec',
  addresses: true,
};
const asking: GitSubcommand = {
  grammar: { short: 'o:', long: remote, ...any },
  code: '--upload-pack --exec',
  addresses: true,
};
const addressed: GitSubcommand = { grammar: { short: '', ...any }, addresses: true };
// `-s` is --signoff here.
const picking: GitSubcommand = {
  grammar: { short: 'm:X:S::', long: 'strategy= strategy-option=', ...any },
  strategies: '--strategy',
};
const cvs: GitSubcommand = {
  grammar: { short: '', ...any },
  // CVSROOT may say by which program a host is reached: `:ext;CVS_RSH=PROGRAM:host:/path`.
  codeWords: /CVS_(?:RSH|SERVER)/i,
};

/**
 * The subcommands of git, of the list of `git help -a` and of the helpers behind it, that have an option or an address
 * which names what is run. Those that run their operands are in git-runners.ts.
 */
export const gitSubcommands: Readonly<Record<string, GitSubcommand>> = {
  archive: { grammar: { short: 'o:', long: remote, ...any }, code: '--exec', addresses: true },
  'cherry-pick': picking,
  clone: {
    grammar: { short: 'u:c:o:b:j:', long: `${remote} config= origin= branch= template=`, ...any },
    code: '-u --upload-pack',
    settings: '-c --config',
    templates: '--template',
    addresses: true,
  },
  cvsexportcommit: cvs,
  cvsimport: cvs,
  daemon: { grammar: { short: '', long: 'access-hook=', ...any }, code: '--access-hook' },
  difftool: {
    grammar: { short: 'x:t:', long: 'extcmd= tool= tool-help', ...any },
    code: '-x --extcmd',
    programs: '-t --tool',
  },
  fetch: fetching,
  'fetch-pack': { ...asking, grammar: { ...asking.grammar, short: '' } },
  'filter-branch': {
    // A script of its own, which reads no further than the first operand.
    grammar: {
      short: 'd:',
      long: `setup= env-filter= tree-filter= index-filter= parent-filter= msg-filter= commit-filter= tag-name-filter=
        subdirectory-filter= original= state-branch=`,
      unlisted: 'flag',
    },
    code: '--setup --env-filter --tree-filter --index-filter --parent-filter --msg-filter --commit-filter --tag-name-filter',
  },
  grep: {
    grammar: { short: 'e:f:A:B:C:m:O::', long: 'open-files-in-pager?', ...any },
    code: '-O --open-files-in-pager',
  },
  'http-fetch': {
    // `git ARGUMENT…` is run.
    grammar: { short: '', long: 'index-pack-arg= index-pack-args=', ...any },
    code: '--index-pack-arg --index-pack-args',
    addresses: true,
  },
  'http-push': addressed,
  init: { grammar: { short: 'b:', long: 'template=', ...any }, templates: '--template' },
  'init-db': { grammar: { short: 'b:', long: 'template=', ...any }, templates: '--template' },
  instaweb: {
    grammar: { short: 'd:m:p:b:', long: 'httpd= module-path= port= browser=', ...any },
    programs: '-d --httpd -b --browser',
  },
  'ls-remote': asking,
  merge: {
    grammar: { short: 's:X:m:F:S::', long: 'strategy= strategy-option=', ...any },
    strategies: '-s --strategy',
  },
  mergetool: { grammar: { short: 't:O:', long: 'tool= tool-help', ...any }, programs: '-t --tool' },
  pull: {
    grammar: { short: 'j:o:s:X:S::r::', long: `${remote} update-shallow strategy= strategy-option=`, ...any },
    code: '--upload-pack',
    strategies: '-s --strategy',
    addresses: true,
  },
  push: sending,
  rebase: {
    grammar: { short: 'x:s:X:C:S::r::', long: 'exec= onto= strategy= strategy-option=', ...any },
    code: '-x --exec',
    strategies: '-s --strategy',
  },
  // Up to git 2.26.
  'rebase--interactive': { grammar: { short: '', long: 'cmd=', ...any }, code: '--cmd' },
  remote: addressed,
  'request-pull': addressed,
  revert: picking,
  'send-email': {
    grammar: {
      short: '',
      long: `sendmail-cmd= to-cmd= cc-cmd= header-cmd= to= cc= smtp-server= smtp-server-port= smtp-server-option= subject=
        from= sender= compose`,
      singleDash: true,
      ...any,
    },
    code: '--sendmail-cmd --to-cmd --cc-cmd --header-cmd',
    // A server that is a path is a program in the manner of sendmail.
    paths: '--smtp-server',
    perl: true,
  },
  'send-pack': sending,
  submodule: addressed,
  'submodule--helper': {
    grammar: { short: '', long: 'update=', ...any },
    codeWords: /^(?:--update=)?!/,
    addresses: true,
  },
  subtree: addressed,
  svn: {
    grammar: { short: '', long: 'authors-prog= authors-file= template=', singleDash: true, ...any },
    programs: '--authors-prog',
    templates: '--template',
    perl: true,
  },
  'web--browse': {
    grammar: { short: 'b:t:c:', long: 'browser= tool= config=', ...any },
    programs: '-b --browser -t --tool',
  },
};

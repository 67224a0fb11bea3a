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
 * which names what is run. Those that run their operands are in git.ts.
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
  // Python's code, for each part of a commit.
  'filter-repo': {
    grammar: {
      short: '',
      long: `filename-callback= message-callback= name-callback= email-callback= refname-callback= file-info-callback=
        blob-callback= commit-callback= tag-callback= reset-callback=`,
      ...any,
    },
    code: `--filename-callback --message-callback --name-callback --email-callback --refname-callback --file-info-callback
      --blob-callback --commit-callback --tag-callback --reset-callback`,
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

// Of git's settings, many name a program or a shell's code (git-config(1): alias, core.pager, core.sshCommand,
// credential.helper, diff.external, filter, gpg.program, …), and each release adds some. These do not.
const harmlessKeys = toPattern([
  '(?:user|author|committer|safe|color|column|advice|http|pack|log|status|fetch|push|checkout|clean|grep)\\..+',
  '(?:commit|tag|rerere|format|blame|i18n|transfer|fsck|stash|add|apply|am|feature|index|repack|maintenance)\\..+',
  'core\\.(?:quotepath|autocrlf|eol|safecrlf|filemode|ignorecase|symlinks|precomposeunicode|longpaths|abbrev|bare)',
  'core\\.(?:compression|loosecompression|bigfilethreshold|preloadindex|untrackedcache|fscache|splitindex|whitespace)',
  'core\\.(?:checkstat|trustctime|commentchar|logallrefupdates|sharedrepository|excludesfile|multipackindex)',
  'core\\.(?:commitgraph|deltabasecachelimit|packedgit\\w+|warnambiguousrefs|protecthfs|protectntfs)',
  'diff\\.(?!external$|tool$|guitool$)[^.]+|merge\\.(?!tool$|guitool$)[^.]+|rebase\\.[^.]+|submodule\\.[^.]+',
  // `pull.twohead`, `pull.octopus` and `branch.NAME.mergeOptions` name a strategy, and that a program.
  'pull\\.(?:rebase|ff)|branch\\.(?!.*\\.(?:mergeoptions|remote|pushremote)$).+|protocol\\.version',
  'gc\\.(?!recentobjectshook$).+|init\\.defaultbranch|versionsort\\..+',
]);
const harmlessSettings =
  /^(?:(?:core\.(?:pager|editor)|sequence\.editor|pager\..+)=(?:cat|true|false|:|)|core\.fsmonitor=(?:false|)|core\.hookspath=\/dev\/null|(?:credential\.helper|core\.askpass|core\.attributesfile|diff\.external|init\.templatedir)=|(?:branch|remote)\..+\.(?:remote|pushremote)=[\w.-]+|protocol\.\w+\.allow=never)$/;

// The keys of git-config(1) whose value some git command runs, as a program, as a shell's code, or as options of one.
const codeKeys = toPattern([
  'alias\\..+|pager\\..+|sequence\\.editor|interactive\\.difffilter|imap\\.tunnel|init\\.templatedir',
  'core\\.(?:sshcommand|pager|editor|fsmonitor|hookspath|askpass|gitproxy|alternaterefscommand)',
  'diff\\.external|diff\\..+\\.(?:command|textconv)|filter\\..+\\.(?:clean|smudge|process)|merge\\..+\\.driver',
  '(?:difftool|mergetool|browser|man|guitool)\\..+\\.(?:cmd|path)|tar\\..+\\.command|trailer\\..+\\.(?:command|cmd)',
  '(?:diff|merge)\\.(?:tool|guitool)|(?:web|help)\\.browser|man\\.viewer|instaweb\\.(?:httpd|browser)',
  'credential\\.(?:.+\\.)?helper|gpg\\.(?:.+\\.)?program|gpg\\.ssh\\.defaultkeycommand',
  'sendemail\\.(?:.+\\.)?(?:smtpserver|sendmailcmd|tocmd|cccmd|headercmd)|svn\\.authorsprog',
  'uploadpack\\.packobjectshook|gc\\.recentobjectshook|remote\\..+\\.(?:uploadpack|receivepack|vcs)',
  'submodule\\..+\\.update|pull\\.(?:twohead|octopus)|branch\\..+\\.mergeoptions|include(?:if\\..+)?\\.path',
  'protocol\\.(?:.+\\.)?allow|url\\..+\\.(?:push)?insteadof|lfs\\.(?:customtransfer|extension)\\..+',
]);
// The other values of submodule.NAME.update are git's own words.
const harmlessUpdates = /^submodule\..+\.update=(?!!)/;

function toPattern(keys: readonly string[]): RegExp {
  return new RegExp(`^(?:${keys.join('|')})$`);
}

/**
 * True for a setting, as `git -c` takes it, that nothing is run by. `hasValue` is false where what stands after the
 * `=` is the name of a variable (`--config-env`), so that only the key can be judged.
 */
export function isHarmlessSetting(setting: string, hasValue: boolean): boolean {
  const key = keyOf(setting);
  if (harmlessKeys.test(key)) return true;
  return hasValue && harmlessSettings.test(key + setting.slice(key.length));
}

/**
 * True for a setting whose value git is known to run. Unlike the above it lets keys of others pass, as `git config` may
 * set any.
 */
export function isCodeSetting(key: string, value: string): boolean {
  const setting = `${key.toLowerCase()}=${value}`;
  return (
    codeKeys.test(key.toLowerCase()) && !harmlessSettings.test(setting) && !harmlessUpdates.test(setting)
  );
}

/** In lower case: git compares all but a middle part so. */
export function keyOf(setting: string): string {
  return (setting.split('=')[0] ?? '').toLowerCase();
}

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

/** True for a setting whose value git is known to run. Unlike the above it lets keys of others pass, as `git config` may set any. */
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

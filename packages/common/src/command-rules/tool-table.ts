import { databaseShells } from './database-shells.ts';
import { isListed, named } from './grammar.ts';
import { npmOptions } from './npm-options.ts';
import type { Tool } from './tools.ts';

// Options that are not listed take nothing; operands and options come in any order.
const anywhere = { unlisted: 'flag', permutes: true } as const;
const gnu = { ...anywhere, abbreviations: true } as const;

// A cross compiler has its machine in front, which only a pattern can say: it is compiled where a name has a dash.
const compilers = 'gcc g\\+\\+ cc c\\+\\+ clang clang\\+\\+ gfortran cpp';
const compiler = named(compilers);
const crossCompiler = named(`[\\w.-]+-(?:${compilers.replaceAll(' ', '|')})`);

/** What this host knows of programs that are neither shell nor wrapper: those that build, pack, fetch and convert. */
export const tools: readonly Tool[] = [
  {
    names: named('g?tar bsdtar'),
    grammar: {
      short: 'b:f:g:C:F:H:I:K:L:N:T:V:X:',
      long: `to-command= checkpoint-action= use-compress-program= rsh-command= rmt-command= info-script=
        new-volume-script= directory= file= exclude= exclude-from= files-from= transform= xform= owner= group= mode=
        mtime= format= strip-components= blocking-factor= listed-incremental= label= newer= starting-file= checkpoint?`,
      ...gnu,
    },
    // A shell runs each.
    code: '-F --to-command --info-script --new-volume-script --rsh-command --rmt-command',
    bringsCode: ({ name, value }) => name === '--checkpoint-action' && /^exec=/.test(value?.text ?? ''),
    programs: '-I --use-compress-program',
    bundled: true,
  },
  {
    names: named('g?make remake'),
    grammar: {
      short: 'bmBdeikLnpqrRsStvwhC:f:I:o:W:E:j::l::O::',
      long: `eval= file= makefile= directory= include-dir= old-file= assume-old= what-if= new-file= assume-new=
        jobserver-style= jobs? load-average? max-load? output-sync? debug? shuffle?`,
      ...gnu,
    },
    code: '-E --eval',
    files: '-f --file --makefile',
    // `X!=CODE` runs it, and so does `X=$(shell CODE)`; MAKEFLAGS may hold --eval.
    operandIsCode: (text) => /^[^=]*!=|^\w*MAKEFLAGS\s*[:?+]*=|^[^=]*=[\s\S]*\$/.test(text),
  },
  {
    names: named('rsync'),
    grammar: { short: 'e:B:f:M:T:', long: 'rsh= rsync-path= exclude= include= filter= files-from=', ...gnu },
    // rsync(1): what -e says is split at spaces, and no shell reads it.
    programs: '-e --rsh',
    code: '--rsync-path',
  },
  {
    names: named('g?sort'),
    grammar: { short: 'k:o:S:t:T:', long: 'compress-program= key= output= parallel=', ...gnu },
    programs: '--compress-program',
  },
  { names: named('g?split'), grammar: { short: 'a:b:C:l:n:t:', long: 'filter=', ...gnu }, code: '--filter' },
  {
    names: named('g?install'),
    grammar: { short: 'g:m:o:S:t:', long: 'strip-program=', ...gnu },
    programs: '--strip-program',
  },
  {
    names: named('zip'),
    grammar: { short: '', long: 'TT= unzip-command=', singleDash: true, ...anywhere },
    code: '--TT --unzip-command',
  },
  {
    names: named('rg'),
    grammar: { short: 'e:f:g:t:T:A:B:C:m:', long: 'pre= hostname-bin=', ...anywhere },
    programs: '--pre --hostname-bin',
  },
  {
    names: named('man'),
    grammar: { short: 'P:H::', long: 'pager= html?', ...gnu },
    code: '-P -H --pager --html',
  },
  {
    names: named('wget'),
    grammar: { short: 'e:O:o:P:', long: 'execute= use-askpass=', ...gnu },
    code: '-e --execute --use-askpass',
  },
  {
    // `-wrapper PROGRAM,ARGUMENT…` runs in front of each pass.
    names: { test: (name) => compiler.test(name) || (name.includes('-') && crossCompiler.test(name)) },
    grammar: { short: '', long: 'wrapper=', singleDash: true, ...anywhere },
    code: '--wrapper',
  },
  {
    names: named('go'),
    grammar: { short: '', long: 'exec= toolexec= vettool=', singleDash: true, ...anywhere },
    programs: '--exec --toolexec --vettool',
  },
  {
    names: named('cargo'),
    grammar: { short: '', long: 'config=', ...anywhere },
    // A file, or configuration, which can name a program to run others with.
    bringsCode: ({ name, value }) => name === '--config' && (value?.text.includes('=') ?? false),
  },
  ...databaseShells,
  {
    names: named('ssh slogin scp sftp autossh'),
    grammar: {
      short: 'B:b:c:D:E:e:F:I:i:J:L:l:m:O:o:P:p:Q:R:S:W:w:X:',
      unlisted: 'flag',
      permutes: true,
    },
    files: '-F',
    // ssh_config(5): settings that a shell runs, or libraries that are loaded.
    bringsCode: ({ name, value }) =>
      name === '-o' &&
      /^\s*(?:proxycommand(?!\s*[=\s]\s*none\s*$)|localcommand|permitlocalcommand|knownhostscommand|pkcs11provider|securitykeyprovider|xauthlocation|include|match)\b/i.test(
        value?.text ?? '',
      ),
  },
  // `-S` of ssh is a socket.
  {
    names: named('scp sftp'),
    grammar: { short: 'b:S:D:o:', ...anywhere },
    programs: '-S -D',
    // A batch may have `!CODE`.
    files: '-b',
  },
  // A library that is loaded, as PKCS11Provider names one.
  { names: named('ssh slogin autossh'), grammar: { short: 'I:o:', ...anywhere }, code: '-I' },
  {
    names: named('nc ncat netcat nc\\.\\w+'),
    grammar: { short: 'e:c:', long: 'exec= sh-exec= lua-exec=', ...gnu },
    code: '-e -c --exec --sh-exec --lua-exec',
  },
  {
    names: named('socat'),
    grammar: { short: '', ...anywhere },
    operandIsCode: (text) => /(?:^|!!)\s*(?:exec|system|shell)\b/i.test(text),
  },
  {
    // `-o DPkg::Pre-Invoke::=CODE` and its like; apt.conf(5).
    names: named('apt apt-get aptitude apt-cache apt-key'),
    grammar: { short: 'o:c:t:', long: 'option= config-file= target-release=', ...anywhere },
    bringsCode: ({ name, value }) =>
      isListed(name, '-o --option') &&
      /invoke|pre-install-pkgs|dpkg::options|dir::bin|::solver|proxy-?auto-?detect|methods|askpass/i.test(
        value?.text ?? '',
      ),
    files: '-c --config-file',
  },
  {
    names: named('dpkg'),
    grammar: { short: '', long: 'pre-invoke= post-invoke= status-logger=', ...anywhere },
    code: '--pre-invoke --post-invoke --status-logger',
  },
  {
    // rpm(8): macros such as `%(CODE)`.
    names: named('rpm rpmbuild rpmspec rpmquery'),
    grammar: { short: 'E:D:', long: 'pipe= eval= define=', ...anywhere },
    code: '--pipe',
    bringsCode: ({ name, value }) =>
      isListed(name, '-E -D --eval --define') && /%[({]/.test(value?.text ?? ''),
  },
  {
    names: named('cpio'),
    grammar: { short: 'C:E:F:H:I:M:O:R:', long: 'rsh-command= rmt-command=', ...gnu },
    code: '--rsh-command --rmt-command',
  },
  { names: named('ag ack'), grammar: { short: 'G:', long: 'pager=', ...anywhere }, code: '--pager' },
  // `less +!CODE`
  {
    names: named('less more'),
    grammar: { short: '', ...anywhere },
    operandIsCode: (text) => /^\+{1,2}[!|#v]/.test(text),
  },
  {
    names: named('gpg gpg2 gpgv'),
    grammar: {
      short: 'o:r:u:',
      long: 'photo-viewer= agent-program= dirmngr-program= keyboxd-program= pinentry-program= output= recipient=',
      ...gnu,
    },
    code: '--photo-viewer',
    programs: '--agent-program --dirmngr-program --keyboxd-program --pinentry-program',
  },
  {
    names: named('aria2c'),
    grammar: {
      short: '',
      long: 'on-bt-download-complete= on-download-complete= on-download-error= on-download-pause= on-download-start= on-download-stop=',
      ...gnu,
    },
    programs: `--on-bt-download-complete --on-download-complete --on-download-error --on-download-pause --on-download-start
      --on-download-stop`,
  },
  {
    names: named('yt-dlp youtube-dl'),
    grammar: {
      short: 'o:f:',
      long: 'exec= exec-before-download= netrc-cmd= downloader= external-downloader=',
      ...gnu,
    },
    code: '--exec --exec-before-download --netrc-cmd',
    programs: '--downloader --external-downloader',
  },
  {
    names: named('rclone'),
    grammar: {
      short: '',
      long: 'password-command= sftp-ssh= metadata-mapper= sftp-server-command=',
      ...anywhere,
    },
    programs: '--password-command --sftp-ssh --metadata-mapper',
  },
  {
    names: named('restic'),
    grammar: { short: 'o:r:p:', long: 'password-command= option= repo= password-file=', ...anywhere },
    programs: '--password-command',
    bringsCode: ({ name, value }) =>
      isListed(name, '-o --option') && /^(?:sftp\.(?:command|args)|rclone\.)/.test(value?.text ?? ''),
  },
  { names: named('borg'), grammar: { short: '', long: 'rsh= remote-path=', ...gnu }, programs: '--rsh' },
  {
    names: named('sshfs mosh'),
    grammar: { short: 'o:p:', long: 'ssh= client= server=', ...gnu },
    programs: '--ssh --client',
    bringsCode: ({ name, value }) =>
      name === '-o' &&
      /(?:^|,)(?:ssh_command|ssh_protocol|sftp_server|proxycommand|localcommand)\s*=/i.test(
        value?.text ?? '',
      ),
  },
  {
    names: named('pandoc'),
    grammar: { short: 'F:f:t:o:H:B:A:V:L:M:', long: 'filter= pdf-engine= output= from= to=', ...gnu },
    programs: '--filter -F --pdf-engine',
  },
  {
    // A first word that is no file is a line of TeX: `\write18{CODE}`.
    names: named(
      'e?tex e?latex e?pdftex e?pdflatex e?xetex e?xelatex e?luatex e?lualatex luahbtex dviluatex',
    ),
    grammar: {
      short: '',
      singleDash: true,
      long: 'shell-escape enable-write18 jobname= output-directory=',
      ...anywhere,
    },
    code: '--shell-escape --enable-write18',
    operandIsCode: (text) => text.startsWith('\\'),
  },
  {
    names: named('latexmk'),
    grammar: { short: 'e:r:', singleDash: true, long: 'pdflatex= latex= lualatex= xelatex=', ...anywhere },
    code: '-e --pdflatex --latex --lualatex --xelatex',
  },
  {
    names: named('gs ghostscript gsc'),
    grammar: { short: 'c:o:f:I:s:d:D:S:', ...anywhere },
    code: '-c',
    bringsCode: ({ value }) => /%pipe%/.test(value?.text ?? ''),
  },
  {
    names: named(
      'convert magick mogrify identify composite montage im-convert im-magick im-mogrify im-identify im-composite im-montage',
    ),
    grammar: { short: '', ...anywhere },
    operandIsCode: (text) => /^(?:\w+:)?\|/.test(text),
  },
  {
    names: named('g?m4'),
    grammar: { short: 'D:U:I:', long: 'define=', ...gnu },
    bringsCode: ({ name, value }) => isListed(name, '-D --define') && /syscmd/.test(value?.text ?? ''),
  },
  {
    names: named('nodemon watchexec entr'),
    grammar: { short: 'x:w:e:', long: 'exec= watch= ext=', ...anywhere },
    code: '-x --exec',
  },
  { names: named('hyperfine concurrently'), grammar: { short: '', ...anywhere }, operandIsCode: () => true },
  {
    names: named('mvnw? mvnd'),
    grammar: { short: 'D:f:P:s:', long: 'define=', ...anywhere },
    bringsCode: ({ name, value }) =>
      isListed(name, '-D --define') && /^exec\.(?:executable|args|commandline)/i.test(value?.text ?? ''),
  },
  {
    // What they run later, and of which no contract shows anything: `… | at now`, `… | crontab -`.
    names: named('at batch crontab'),
    grammar: { short: 'f:q:t:u:lred', ...anywhere },
    files: '-f',
    stdin: 'code',
    instead: '-l -r -e -d',
    operandIsCode: (text) => text === '-',
  },
  // `!CODE` in what it reads.
  {
    names: named('sftp lftp ftp'),
    grammar: { short: 'b:e:c:f:', ...anywhere },
    files: '-b -f',
    code: '-e -c',
    stdin: 'code',
  },
  {
    // The same settings as npm_config_script_shell and its like.
    names: named('npm'),
    grammar: { ...npmOptions, long: `${npmOptions.long} browser=`, ...anywhere },
    bringsCode: ({ name, value }) => name === '--node-options' && /data:/i.test(value?.text ?? ''),
    programs: '--script-shell --shell --editor --viewer --git --browser',
    operandsAreCode: setsNpmCode,
  },
  {
    names: named('pnpm yarn'),
    grammar: {
      short: '',
      long: 'script-shell= shell= editor= viewer= git= browser= node-options=',
      ...anywhere,
    },
    bringsCode: ({ name, value }) => name === '--node-options' && /data:/i.test(value?.text ?? ''),
    programs: '--script-shell --shell --editor --viewer --git --browser',
    operandsAreCode: setsNpmCode,
  },
];

/** `npm config set script-shell X` and `npm pkg set scripts.test=CODE` run nothing, but the next command does. */
function setsNpmCode(operands: readonly string[]): boolean {
  if (operands.some((text) => /^(?:set-sc|set-script)/.test(text))) return true;
  if (!operands.includes('set')) return false;
  return operands.some((text) =>
    /^(?:scripts[.[]|(?:[\w.-]*:)?(?:script-shell|shell|editor|viewer|git|browser|node-options|call)(?:=|$))/.test(
      text,
    ),
  );
}

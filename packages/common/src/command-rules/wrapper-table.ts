import { type Grammar, named } from './grammar.ts';
import type { Wrapper } from './wrappers.ts';

/** The terms of getopt_long(3), which every program of coreutils and util-linux reads its options with. */
function gnu(short: string, long = ''): Grammar {
  return { short, long: `${long} help version`, abbreviations: true };
}

const machine = `(?:uname26|linux32|linux64|i[3-6]86|x86_64|athlon|aarch64|arm\\w*|mips\\w*|parisc\\w*|ppc\\w*|s390x?|sparc\\w*|alpha\\w*|ia64|riscv\\d*)`;

const namespaces = 'mount? uts? ipc? net? pid? user? cgroup? time? setuid= setgid=';

const su = gnu(
  'mpPlfThVc:s:g:G:w:u:',
  `command= session-command= shell= group= supp-group= whitelist-environment= user= preserve-environment pty no-pty
  login fast`,
);

const npm: Grammar = {
  short: 'yqsdDgp:c:w:C:',
  long: `package= call= workspace= prefix= cache= registry= userconfig= script-shell= loglevel= yes no no-install quiet
    silent offline prefer-offline workspaces ignore-scripts no-audit no-fund help version`,
};

/** What this host knows to run another program. `env`, `xargs` and `find` have readers of their own. */
export const wrappers: readonly Wrapper[] = [
  // coreutils(1)
  {
    family: 'timeout',
    names: named('g?timeout'),
    grammar: gnu('fk:ps:v', 'foreground kill-after= preserve-status signal= verbose'),
    before: 1,
  },
  {
    family: 'nice',
    names: named('g?nice'),
    grammar: { ...gnu('n:', 'adjustment='), numeric: true },
  },
  { family: 'nohup', names: named('g?nohup'), grammar: gnu('') },
  { family: 'stdbuf', names: named('g?stdbuf'), grammar: gnu('i:o:e:', 'input= output= error=') },
  {
    family: 'chroot',
    names: named('g?chroot'),
    grammar: gnu('', 'groups= userspec= skip-chdir'),
    before: 1,
    shell: 'by default',
  },
  {
    family: 'time',
    names: named('g?time'),
    grammar: gnu('apvqlhVo:f:', 'append portability verbose quiet output= format='),
  },
  // util-linux
  {
    family: 'ionice',
    names: named('ionice'),
    grammar: gnu('tc:n:p:P:u:hV', 'class= classdata= ignore pid= pgid= uid='),
    alone: '-p -P -u --pid --pgid --uid',
  },
  { family: 'setsid', names: named('setsid'), grammar: gnu('cfwhV', 'ctty fork wait') },
  {
    family: 'unshare',
    names: named('unshare'),
    grammar: gnu(
      'm::u::i::n::p::U::C::T::frchVR:w:S:G:l:',
      `${namespaces} fork map-user= map-group= map-users= map-groups= map-root-user map-current-user map-auto
      map-subids kill-child? mount-proc? mount-binfmt? propagation= setgroups= keep-caps root= wd= monotonic=
      boottime= load-interp= forward-signals`,
    ),
    shell: 'by default',
  },
  {
    family: 'nsenter',
    names: named('nsenter'),
    grammar: gnu(
      'aFZechVt:m::u::i::n::p::C::U::T::S:G:r::w::W:N:',
      `${namespaces} all target= preserve-credentials keep-caps root? wd? wdns= no-fork follow-context env
      join-cgroup net-socket= user-parent`,
    ),
    shell: 'by default',
  },
  {
    family: 'setpriv',
    names: named('setpriv'),
    grammar: gnu(
      'dhV',
      `dump nnp no-new-privs ambient-caps= inh-caps= bounding-set= ruid= euid= rgid= egid= reuid= regid= clear-groups
      keep-groups init-groups groups= list-caps securebits= pdeathsig= ptracer= selinux-label= apparmor-profile=
      landlock-access= landlock-rule= seccomp-filter= reset-env`,
    ),
  },
  {
    family: 'setarch',
    names: new RegExp(`^(?:setarch|${machine})$`),
    grammar: gnu(
      'BFILRSTXZ3vhVp::',
      `32bit fdpic-funcptrs short-inode addr-compat-layout addr-no-randomize whole-seconds sticky-timeouts
      read-implies-exec mmap-page-zero 3gb 4gb uname-2.6 verbose list show?`,
    ),
    // `setarch x86_64 -R PROGRAM`
    leading: new RegExp(`^${machine}$`),
    shell: 'by default',
  },
  {
    family: 'chrt',
    names: named('chrt'),
    grammar: gnu(
      'abdefimoprRvhVT:P:D:',
      `all-tasks batch deadline ext fifo idle max other pid rr reset-on-fork verbose sched-runtime= sched-period=
      sched-deadline=`,
    ),
    before: /^\d+$/,
    alone: '-p -m --pid --max',
  },
  {
    family: 'taskset',
    names: named('taskset'),
    // The mask is an operand; `-c` only says how it is written.
    grammar: gnu('apchV', 'all-tasks pid cpu-list'),
    before: 1,
    alone: '-p --pid',
  },
  {
    family: 'prlimit',
    names: named('prlimit'),
    grammar: gnu(
      'hVp:o:c::d::e::f::i::l::m::n::q::r::s::t::u::v::x::y::',
      `pid= output= noheadings raw verbose core? data? nice? fsize? sigpending? memlock? rss? nofile? msgqueue?
      rtprio? stack? cpu? nproc? as? locks? rttime?`,
    ),
    alone: '-p --pid',
  },
  { family: 'choom', names: named('choom'), grammar: gnu('hVn:p:', 'adjust= pid='), alone: '-p --pid' },
  {
    family: 'uclampset',
    names: named('uclampset'),
    grammar: gnu('asRvhVm:M:p:', 'all-tasks pid= system reset-on-fork verbose'),
    alone: '-p --pid',
  },
  {
    family: 'flock',
    names: named('flock'),
    grammar: gnu(
      'sexnuoFhVw:E:c:',
      `shared exclusive unlock nonblock nb timeout= wait= conflict-exit-code= close no-fork verbose fcntl start=
      length= command=`,
    ),
    before: 1,
    // `flock FILE -c CODE`
    code: '-c --command',
  },
  {
    family: 'script',
    names: named('script'),
    grammar: {
      ...gnu(
        'aefqhVt::c:I:O:B:m:o:T:E:',
        `append command= return flush force echo= log-in= log-out= log-io= log-timing= logging-format= output-limit=
        quiet timing?`,
      ),
      permutes: true,
    },
    before: 1,
    code: '-c --command',
    shell: 'by default',
  },
  // Other users
  {
    family: 'sudo',
    names: named('sudo sudoedit sudo-rs'),
    grammar: gnu(
      'AbBeEHKklnNPSsiVva:c:C:D:g:h:p:R:r:t:T:u:U:',
      `askpass background bell edit set-home remove-timestamp reset-timestamp list no-update non-interactive
      preserve-groups preserve-env? stdin shell login validate auth-type= login-class= close-from= chdir= group=
      host= prompt= chroot= role= type= command-timeout= user= other-user=`,
    ),
    assignments: true,
    code: '-s -i --shell --login',
  },
  { family: 'doas', names: named('doas'), grammar: { short: 'nLsu:C:a:' }, code: '-s' },
  {
    family: 'su',
    names: named('su'),
    grammar: { ...su, dash: 'flag', permutes: true },
    before: 1,
    code: '-c --command --session-command',
    shell: 'with operands',
  },
  {
    // `runuser -u USER PROGRAM`, and with no `-u` it is su.
    family: 'runuser',
    names: named('runuser'),
    grammar: { ...su, dash: 'flag', permutes: true },
    code: '-c --command --session-command',
    shell: 'by default',
  },
  { family: 'gosu', names: named('gosu su-exec setuidgid'), grammar: gnu(''), before: 1 },
  { family: 'sshpass', names: named('sshpass'), grammar: { short: 'f:d:p:P:e::vhV' } },
  { family: 'ssh-agent', names: named('ssh-agent'), grammar: { short: 'cDdksa:E:O:P:t:T' }, alone: '-k' },
  {
    family: 'pkexec',
    names: named('pkexec run0'),
    grammar: gnu(
      'u:g:D:',
      'user= group= disable-internal-agent keep-cwd chdir= setenv= nice= slice= unit= description=',
    ),
    shell: 'by default',
  },
  {
    family: 'sg',
    names: named('sg newgrp'),
    grammar: { short: 'c:' },
    before: 1,
    code: '-c',
    shell: 'by default',
  },
  {
    family: 'systemd-run',
    names: named('systemd-run systemd-inhibit systemd-cat'),
    grammar: gnu(
      'hVH:M:u:p:rqPtSdGE:',
      `host= machine= unit= property= description= slice= slice-inherit expand-environment= remain-after-exit send-sighup
      service-type= uid= gid= nice= working-directory= same-dir setenv= pty pty-late pipe quiet collect shell user
      system scope no-block wait no-ask-password on-active= on-boot= on-startup= on-unit-active= on-calendar=
      timer-property= path-property= socket-property= what= who= why= mode= list identifier= priority= level-prefix=`,
    ),
    code: '-S --shell',
  },
  {
    family: 'start-stop-daemon',
    names: named('start-stop-daemon'),
    grammar: gnu(
      'SKTHx:p:u:n:a:s:c:g:k:r:d:N:P:I:bmCvqotVR:O:',
      `start stop status exec= pidfile= user= name= startas= signal= chuid= group= umask= chroot= chdir= nicelevel=
      procsched= iosched= background make-pidfile remove-pidfile no-close verbose quiet oknodo test retry= output= notify-await
      notify-timeout= ppid= pid=`,
    ),
    programs: '-x -a --exec --startas',
  },
  // Watching and tracing
  {
    family: 'perf',
    names: named('perf'),
    grammar: {
      short: 'vh',
      long: 'version help list-cmds exec-path? no-pager paginate debug= debugfs-dir= buildid-dir=',
    },
    commands: { stat: 'program', record: 'program', trace: 'program', c2c: 'program', mem: 'program' },
  },
  {
    family: 'tracers',
    names: named(
      'rr heaptrack uftrace chronic cpulimit entr annotate-output firejail proot fakechroot aa-exec cgexec',
    ),
    grammar: { short: 'acdnprszhvqf:l:e:g:p:', unlisted: 'flag' },
  },
  {
    family: 'watch',
    names: named('watch'),
    grammar: gnu(
      'bcCegprtvwxhfd::n:q:s:',
      `beep color no-color differences? errexit chgexit equexit= interval= precise no-rerun shotsdir= no-title
      no-wrap exec follow`,
    ),
    shell: 'on operands',
    noShell: '-x --exec',
  },
  {
    family: 'strace',
    names: named('strace'),
    grammar: gnu(
      'AcCdDfFhiknqrtTvVwxyYzZa:b:e:E:I:o:O:p:P:s:S:u:U:X:',
      `env= attach= user= detach-on= daemonize? daemonized? follow-forks output-separately interruptible= trace=
      signal= signals= status= trace-path= trace-fds= successful-only failed-only columns= abbrev= verbose= raw=
      read= reads= write= writes= quiet? silent? silence? kvm= decode-fds? decode-pids= instruction-pointer
      stack-traces? stack-trace? syscall-number output= output-append-mode relative-timestamps? string-limit= argv0=
      absolute-timestamps? timestamps? syscall-times? no-abbrev strings-in-hex? const-print-style= summary-only
      summary summary-syscall-overhead= summary-sort-by= summary-columns= summary-wall-clock inject= fault= debug
      seccomp-bpf tips? always-show-pid`,
    ),
    // strace(1): `-o '|CODE'`
    bringsCode: ({ name, value }) => /^-(?:o|-output)$/.test(name) && /^[|!]/.test(value?.text ?? ''),
  },
  {
    family: 'ltrace',
    names: named('ltrace'),
    grammar: gnu(
      'bcCfhiLrStTVa:A:D:e:F:l:n:o:p:s:u:w:x:X:',
      'align= config= debug= demangle indent= library= output= where=',
    ),
  },
  {
    family: 'valgrind',
    names: named('valgrind'),
    // Its tools have hundreds of options, and all take `=VALUE` or nothing.
    grammar: { short: 'vqdh', unlisted: 'flag' },
  },
  {
    family: 'faketime',
    names: named('faketime'),
    grammar: { short: 'fmhp:', long: 'exclude-monotonic date-prog= help version' },
    before: 1,
  },
  {
    family: 'dbus-run-session',
    names: named('dbus-run-session dbus-launch'),
    grammar: gnu(
      'f:',
      'config-file= dbus-daemon= exit-with-session exit-with-x11 sh-syntax csh-syntax auto-syntax close-stderr',
    ),
  },
  {
    family: 'fakeroot',
    names: named('fakeroot(?:-\\w+)?'),
    grammar: gnu('uhvl:s:i:f:b:', 'lib= faked= unknown-is-real fd-base='),
    shell: 'by default',
  },
  {
    family: 'xvfb-run',
    names: named('xvfb-run'),
    grammar: gnu(
      'adhle:f:n:p:s:w:',
      'auto-servernum auto-display error-file= auth-file= listen-tcp server-num= xauth-protocol= server-args= wait=',
    ),
    // The server's arguments go through a shell.
    code: '-s --server-args',
  },
  {
    family: 'numactl',
    names: named('numactl'),
    grammar: gnu(
      'albsHhtrvi:w:N:C:m:p:P:',
      `all interleave= weighted-interleave= cpunodebind= physcpubind= membind= preferred= preferred-many= localalloc
      balancing show hardware`,
    ),
  },
  {
    family: 'init',
    names: named('catchsegv eatmydata unbuffer tini dumb-init rlwrap proxychains torsocks torify'),
    grammar: { short: 'pqsgv', long: 'help version' },
  },
  // Words of a shell that some systems have as programs, and multi-call binaries: the first operand is the program.
  { family: 'command', names: named('command exec builtin'), grammar: { short: 'pvVcla:' } },
  {
    family: 'busybox',
    names: named('busybox toybox'),
    grammar: { short: '', long: 'list list-full install long show help' },
  },
  {
    // ld.so(8): runs any program, also one that nobody has the right to execute.
    family: 'ld.so',
    names: /^ld(?:-(?:linux|musl)[\w.-]*|64|-\d[\d.]*)?\.so(?:\.\d+)*$/,
    grammar: {
      short: '',
      long: `library-path= preload= audit= inhibit-rpath= argv0= glibc-hwcaps-prepend= glibc-hwcaps-mask= inhibit-cache
        list verify list-tunables list-diagnostics help version`,
    },
  },
  {
    family: 'qemu',
    names: /^qemu-(?:aarch64|arm|i386|mips\w*|ppc\w*|riscv\d+|s390x|sparc\w*|x86_64)(?:-static)?$/,
    grammar: {
      short: 'hg:L:s:r:E:U:0:B:R:p:d:D:',
      singleDash: true,
      long: 'cpu= strace one-insn-per-tb plugin= seed= help version',
    },
  },
  {
    family: 'ccache',
    names: named('ccache distcc sccache icecc'),
    grammar: {
      short: 'cCszVhxF:M:X:',
      long: 'cleanup clear show-stats zero-stats max-files= max-size= config-path= show-config help version',
    },
  },
  // Package managers run the programs of packages.
  { family: 'npx', names: named('npx pnpx bunx'), grammar: npm, code: '-c --call' },
  {
    family: 'npm',
    names: named('npm'),
    grammar: npm,
    code: '-c --call --script-shell',
    // `npm explore PACKAGE -- CODE`
    commands: { exec: 'program', x: 'program', explore: 'code' },
  },
  {
    family: 'pnpm',
    names: named('pnpm'),
    grammar: {
      short: 'rcwC:F:',
      long: 'recursive parallel filter= dir= package= shell-mode silent help version',
    },
    code: '-c --shell-mode',
    commands: { exec: 'program', dlx: 'program' },
  },
  {
    family: 'yarn',
    names: named('yarn yarnpkg'),
    grammar: { short: 'sp:', long: 'silent cwd= package= help version' },
    // Yarn hands what it executes to a shell of its own.
    commands: { exec: 'code', dlx: 'program', node: 'program' },
  },
  {
    family: 'bundle',
    names: named('bundle bundler rbenv pyenv opam stack cabal dune'),
    grammar: { short: '', long: 'verbose keep-file-descriptors gemfile= help version' },
    commands: { exec: 'program' },
  },
  {
    family: 'uv',
    names: named('uv poetry pipenv pdm hatch conda rye'),
    grammar: {
      short: 'qvn:p:',
      long: `frozen locked no-sync offline no-project with= python= project= directory= extra= group= name= prefix=
        quiet verbose help version`,
    },
    commands: { run: 'program' },
  },
  // Settings and secrets of others, and then a program.
  {
    family: 'exec',
    names: named('direnv dotenvx doppler op aws-vault chamber mise asdf nvm volta infisical sops'),
    grammar: { short: 'f:p:c:e:', unlisted: 'flag' },
    commands: { exec: 'program', run: 'program', x: 'program', 'exec-env': 'code', 'exec-file': 'code' },
  },
  {
    family: 'nix',
    names: named('nix-shell'),
    grammar: {
      short: 'p:A:I:j:E:',
      long: 'run= command= packages= attr= arg= argstr= expr= pure keep=',
      unlisted: 'flag',
    },
    code: '-E --run --command --expr',
  },
  {
    family: 'nix',
    names: named('nix guix'),
    grammar: { short: 'f:I:L', long: 'option= file= command=', unlisted: 'flag' },
    code: '-c --command',
    commands: { shell: 'program', develop: 'program', run: 'program', time: 'program' },
  },
  {
    family: 'mpirun',
    names: named('mpirun mpiexec orterun srun salloc'),
    grammar: {
      short: 'n:N:p:c:H:t:J:A:',
      long: 'np= host= hostfile= nodes= ntasks= partition= time=',
      singleDash: true,
    },
  },
  {
    family: 'sbatch',
    names: named('sbatch'),
    grammar: { short: 'n:N:p:t:J:', long: 'wrap=', unlisted: 'flag' },
    code: '--wrap',
  },
  // A terminal in the background, whose shell reads what it is told.
  {
    family: 'tmux',
    names: named('tmux'),
    grammar: { short: '2CDlNuvVc:f:L:S:T:' },
    code: '-c',
    commands: {
      new: 'code',
      'new-session': 'code',
      neww: 'code',
      'new-window': 'code',
      splitw: 'code',
      'split-window': 'code',
      run: 'code',
      'run-shell': 'code',
      'if-shell': 'code',
      'send-keys': 'code',
      send: 'code',
      pipep: 'code',
      'pipe-pane': 'code',
      respawnp: 'code',
      respawnw: 'code',
      'respawn-pane': 'code',
      'respawn-window': 'code',
      popup: 'code',
      'display-popup': 'code',
    },
  },
  {
    family: 'screen',
    names: named('screen'),
    grammar: { short: 'aADdmLlOqUvxRirwSX:c:e:h:p:s:S:t:T:', unlisted: 'flag' },
    code: '-X',
    shell: 'by default',
  },
  {
    family: 'uvx',
    names: named('uvx'),
    grammar: { short: 'qvp:w:n', long: 'from= with= python= quiet verbose no-cache offline help version' },
  },
];

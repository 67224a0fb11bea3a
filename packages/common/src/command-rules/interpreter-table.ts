import { type Grammar, named } from './grammar.ts';
import { type Interpreter, isDataAddress, isStream } from './interpreters.ts';
import type { Option } from './scan-options.ts';

// `-o NAME`: bash and dash take the next word and go on with the letters, ksh and zsh take the rest of the word; `-O`
// and `-R` take a word in one shell and none in another. `sh` may be any of them, so every reading counts for all.
const shell: Grammar = {
  short: 'abcefhiklmnprstuvxyBCDEGHIKLMNPTVXo;O;A;R;',
  plus: true,
  dash: 'end',
  // bash(1) takes its long options with one dash too.
  singleDash: true,
  long: `init-file= rcfile= emulate= norc noprofile noediting posix login restricted verbose debugger dump-strings
    dump-po-strings pretty-print protected help version`,
};

// `--no-…` is a flag throughout. What is not listed (new options, V8's) may take the next word or not.
const node: Grammar = {
  short: 'chipvse:r:C:',
  long: `eval= print interactive abort-on-uncaught-exception allow-addons allow-child-process allow-inspector
    allow-natives-syntax allow-net allow-openssl-store allow-wasi allow-worker build-snapshot check completion-bash
    cpu-prof disable-sigusr1 disable-wasm-trap-handler disallow-code-generation-from-strings enable-etw-stack-walking
    enable-fips enable-source-maps entry-url experimental-addon-modules experimental-detect-module
    experimental-eventsource experimental-import-meta-resolve experimental-import-text experimental-json-modules
    experimental-network-inspection experimental-permission experimental-repl-await experimental-require-module
    experimental-specifier-resolution= experimental-strip-types experimental-test-coverage
    experimental-test-module-mocks experimental-test-snapshots experimental-transform-types experimental-vm-modules
    experimental-wasm-modules experimental-webstorage expose-gc expose_gc force-context-aware force-fips
    frozen-intrinsics harmony* heap-prof help insecure-http-parser inspect inspect-brk inspect-wait
    interpreted-frames-native-stack jitless node-memory-debug openssl-legacy-provider openssl-shared-config
    pending-deprecation permission permission-audit preserve-symlinks preserve-symlinks-main prof prof-process
    report-compact report-exclude-env report-exclude-network report-on-fatalerror report-on-signal
    report-uncaught-exception test test-force-exit test-only test-randomize test-update-snapshots throw-deprecation
    tls-max-v1.2 tls-max-v1.3 tls-min-v1.0 tls-min-v1.1 tls-min-v1.2 tls-min-v1.3 trace-deprecation trace-env
    trace-exit trace-gc trace-promises trace-sigint trace-sync-io trace-tls trace-uncaught trace-warnings
    track-heap-objects use-bundled-ca use-env-proxy use-openssl-ca use-system-ca v8-options version watch
    watch-preserve-output zero-fill-buffers no-*`,
};

// about_Pwsh: `-c` and `--Command` are both `-Command`.
const powershell: Grammar = {
  short: '',
  singleDash: true,
  abbreviations: true,
  last: '--file',
  long: `command= commandwithargs= cwa= encodedcommand= ec= encodedarguments= ea= file= configurationfile=
  configurationname= custompipename= executionpolicy= ex= ep= inputformat= inp= if= outputformat= of= o=
  settingsfile= psconsolefile= version= windowstyle= workingdirectory= wd= interactive login mta noexit nologo
  noninteractive noprofile noprofileloadtime sshservermode sta help`,
};

const isNamedStream = ({ value }: Option): boolean =>
  value !== undefined && value.text !== '-' && isStream(value.text);

const dataAddress = ({ value }: Option): boolean => isDataAddress(value?.text);

/** What this host knows to run code. */
export const interpreters: readonly Interpreter[] = [
  {
    family: 'sh',
    names: named('sh [bd]?ash rbash [lmr]?ksh ksh93 pdksh o?ksh loksh r?zsh yash posh'),
    grammar: shell,
    code: '-c',
    stream: '-s',
  },
  {
    family: 'csh',
    names: named('t?csh'),
    grammar: { short: 'bcdefilmnqstvVxX' },
    code: '-c',
    stream: '-s -t',
  },
  {
    family: 'fish',
    names: named('fish'),
    grammar: {
      short: 'c:C:d:o:f:p:D:hPilnv',
      long: `command= init-command= debug= debug-output= debug-stack-frames= features= profile= profile-startup=
        interactive login no-config no-execute private help version`,
      abbreviations: true,
    },
    code: '-c -C --command --init-command',
  },
  {
    family: 'python',
    names: named('python pypy ipython micropython jython'),
    grammar: {
      short: 'c:m:W:X:Q:bBdEhiIOPqRsStuvVx?',
      long: 'check-hash-based-pycs= help help-all help-env help-xoptions version',
      // The rest is sys.argv.
      last: '-c -m',
    },
    code: '-c',
    // Modules that take code from their arguments, or from stdin.
    bringsCode: ({ name, value }) =>
      name === '-m' && /^(?:timeit|pdb|code|asyncio|IPython|pyperf|debugpy)(?:\.|$)/.test(value?.text ?? ''),
    // `python3 -m cProfile -m timeit CODE`
    modules: 'cProfile profile trace coverage runpy viztracer kernprof memory_profiler scalene',
    stream: '-i',
  },
  {
    family: 'node',
    names: named('node nodejs tsx ts-node(?:-esm)? electron esno swc-node babel-node zx'),
    grammar: node,
    // `-p` with a file's name evaluates the name.
    code: '-e -p --eval --print',
    // `--import /dev/stdin` as well as `--import data:…`
    bringsCode: (option) => dataAddress(option) || isNamedStream(option),
    stream: '-i --interactive',
    // These look for files by themselves.
    file: '--test --run',
    commands: { inspect: 'stream', debug: 'stream' },
  },
  {
    family: 'deno',
    names: named('deno'),
    grammar: {
      short: 'AqRWNESIc:r::L:P::',
      long: `config= import-map= lock= seed= cert= env-file= location= ext= v8-flags= log-level= preload= require=
        minimum-dependency-age= eval=`,
      unlisted: 'flag',
    },
    code: '--eval',
    bringsCode: dataAddress,
    commands: { eval: 'code', repl: 'stream', run: 'file', serve: 'file', test: 'file', bench: 'file' },
  },
  {
    family: 'bun',
    names: named('bun'),
    grammar: {
      short: 'e:p:r:c::d:l:',
      long: 'eval= print= preload= require= import= config? cwd= env-file=',
      unlisted: 'flag',
    },
    code: '-e -p --eval --print',
    bringsCode: dataAddress,
    // `bun exec` hands its argument to a shell.
    commands: { exec: 'code', repl: 'stream', run: 'file', test: 'file' },
  },
  {
    family: 'perl',
    names: named('perl raku rakudo'),
    grammar: {
      short: 'acfghnpsStTuUvwWX0le:E:I:M::m::F::i::x::d::D::V::C',
      attached: { 0: /^(?:x[\da-f]+|[0-7]*)/i, l: /^[0-7]*/, C: /^(?:\d+|[IOEioADSLa]*)/ },
    },
    code: '-e -E',
    bringsCode: isPerlCode,
  },
  {
    family: 'ruby',
    names: named('ruby jruby truffleruby mruby irb'),
    grammar: {
      short: 'acdhlnpsSvwye:C:X:E:F::i::I:K::r:x::W::T::U0',
      attached: { 0: /^[0-7]*/ },
      long: `encoding= external-encoding= internal-encoding= enable= disable= backtrace-limit= parser= dump=
        crash-report= jit yjit rjit verbose version help copyright debug yydebug`,
    },
    code: '-e',
  },
  {
    family: 'php',
    names: named('php php-cgi phpdbg hhvm'),
    grammar: {
      short: 'aCeHhilmnqsvw?r:B:R:E:F:f:S:t:d:c:z:b:T:',
      long: `run= process-begin= process-code= process-end= process-file= file= define= php-ini= zend-extension=
        server= docroot= rf= rc= re= rz= ri= interactive no-php-ini info syntax-check modules version strip ini
        help no-header hide-args`,
    },
    code: '-r -B -R -E --run --process-begin --process-code --process-end',
    // `-d auto_prepend_file=data:…` is code.
    bringsCode: ({ name, value }) => /^-(?:d|-define)$/.test(name) && /data:|:\/\//i.test(value?.text ?? ''),
    stream: '-a --interactive',
    file: '-f -F --file --process-file -S --server',
  },
  {
    family: 'lua',
    names: named('lua luajit texlua luau luajit-[\\d.]+\\w*'),
    grammar: { short: 'e:l:iEvWj:O::b' },
    code: '-e',
    stream: '-i',
  },
  {
    family: 'tclsh',
    names: named('tclsh wish jimsh'),
    grammar: { short: 'e:', singleDash: true, long: 'encoding=' },
    code: '-e',
  },
  {
    family: 'expect',
    names: named('expect expectk'),
    grammar: { short: 'c:f:D:b:dinNv' },
    code: '-c',
    stream: '-i',
    file: '-f -b',
  },
  {
    family: 'R',
    names: named('R Rterm'),
    grammar: { short: 'e:f:g:d:q', long: 'file= gui= debugger= encoding=', unlisted: 'flag', permutes: true },
    code: '-e',
    file: '-f --file',
    stdin: 'always',
  },
  {
    family: 'R',
    names: named('Rscript r littler'),
    grammar: { short: 'e:g:', long: 'default-packages=', unlisted: 'flag' },
    code: '-e',
  },
  {
    family: 'groovy',
    names: named('groovy groovysh groovyclient'),
    grammar: {
      short: 'adhjnpvbe:c:D:l::i::x',
      singleDash: true,
      long: 'cp= classpath= encoding= define= configscript= autosplit? version',
    },
    code: '-e',
  },
  {
    family: 'jshell',
    names: named('jshell'),
    grammar: {
      short: 'R:C:J:qsvnhX',
      long: `class-path= module-path= add-modules= add-exports= startup= feedback= execution= enable-preview`,
    },
    stdin: 'always',
  },
  {
    // `-jar FILE`, a class, or `java File.java`: always a file.
    family: 'java',
    names: named('java'),
    grammar: {
      short: '',
      singleDash: true,
      long: `jar= cp= classpath= class-path= module-path= p= m= module= add-modules= source= add-opens= add-exports=
        add-reads=`,
      unlisted: 'flag',
    },
    // `-XX:OnError=CODE`
    bringsCode: ({ word }) => /^-XX:On(?:OutOfMemory)?Error=/.test(word.text),
    stdin: 'never',
  },
  {
    family: 'ghci',
    names: named('ghci ghc runghc runhaskell'),
    grammar: { short: 'e:f:i::', long: 'ghc-arg= package= package-db=', unlisted: 'flag', permutes: true },
    code: '-e',
  },
  {
    family: 'osascript',
    names: named('osascript'),
    grammar: { short: 'e:l:s:i' },
    code: '-e',
    stream: '-i',
  },
  {
    family: 'pwsh',
    names: named('pwsh pwsh-preview powershell'),
    grammar: powershell,
    // about_Pwsh: case does not matter, names may be cut short, and other dashes than `-` do.
    fold: (text) => text.toLowerCase().replace(/^[\u2013-\u2015]/, '-'),
    code: '--command --commandwithargs --cwa --encodedcommand --ec',
  },
  {
    family: 'julia',
    names: named('julia'),
    grammar: {
      short: 'e:E:L:J:C:t:p:iqhv',
      long: 'eval= print= load= project? sysimage= threads= procs=',
      unlisted: 'flag',
    },
    code: '-e -E --eval --print',
    stream: '-i',
  },
  {
    family: 'elixir',
    names: named('elixir iex'),
    grammar: {
      short: 'e:r:S:h',
      singleDash: true,
      long: 'eval= rpc-eval= pa= pz= app= cookie= name= sname= erl= pr=',
      unlisted: 'flag',
    },
    code: '-e --eval --rpc-eval',
  },
  {
    family: 'erl',
    names: named('erl werl'),
    grammar: { short: '', singleDash: true, long: 'eval=', unlisted: 'flag', permutes: true },
    code: '--eval',
    stdin: 'always',
  },
  {
    family: 'scala',
    names: named('scala kotlin clojure clj bb'),
    grammar: {
      short: 'e:',
      singleDash: true,
      long: 'cp= classpath= script= eval= expression=',
      unlisted: 'flag',
    },
    code: '-e --eval --expression',
  },
  {
    family: 'octave',
    names: named('octave octave-cli matlab'),
    grammar: {
      short: 'p:fhHiqVW',
      singleDash: true,
      long: 'eval= path= r= batch=',
      unlisted: 'flag',
    },
    code: '--eval --r --batch',
    stream: '-i',
  },
  {
    family: 'guile',
    names: named('guile racket gosh csi scheme gsi'),
    grammar: { short: 'c:e:l:L:x:C:t:f:s:r:u:p:qih', long: 'eval= load= require=', unlisted: 'flag' },
    code: '-c -e --eval',
  },
  {
    family: 'lisp',
    names: named('sbcl clisp ecl ccl'),
    grammar: {
      short: 'x:i:',
      singleDash: true,
      long: 'eval= load= script= core=',
      unlisted: 'flag',
      permutes: true,
    },
    code: '-x --eval',
  },
  {
    family: 'ocaml',
    names: named('ocaml utop'),
    grammar: { short: 'e:I:', singleDash: true, long: 'init= open= ppx=', unlisted: 'flag' },
    code: '-e',
  },
  {
    family: 'js',
    names: named('gjs qjs d8 rhino js jjs hermes'),
    grammar: { short: 'c:e:I:C:f:im', long: 'command= eval= include=', unlisted: 'flag' },
    code: '-c -e --command --eval',
    bringsCode: dataAddress,
  },
  // Editors and debuggers take commands, and have one that starts a shell.
  {
    family: 'vim',
    names: named('[rgn]?vi(?:m|ew|mdiff)? ex view vim\\.\\w+'),
    grammar: {
      short: 'c:S:T:u:U:w:W:i:t:q::p::o::O::V::sveEdbRZmMNnrLlAHFyCD',
      long: 'cmd= startuptime= remote-send= remote-expr=',
      unlisted: 'flag',
      plus: true,
      permutes: true,
    },
    code: '-c --cmd --remote-send --remote-expr',
    // `vim +COMMAND`
    bringsCode: ({ word }) => word.text.startsWith('+'),
    stream: '-s -e -E',
    stdin: 'always',
  },
  // Macro processors and calculators that can start a program.
  {
    family: 'm4',
    names: named('g?m4'),
    grammar: { short: 'D:U:I:EPQWegisB:F:G:H:L:R:S:T:d::t:l:o:', unlisted: 'flag', permutes: true },
  },
  {
    family: 'dc',
    names: named('dc'),
    grammar: { short: 'e:f:xhV', long: 'expression= file=', unlisted: 'flag', permutes: true },
    code: '-e --expression',
    file: '-f --file',
  },
  {
    family: 'sqlite3',
    names: named('sqlite3 sqlcipher duckdb'),
    grammar: {
      short: '',
      singleDash: true,
      long: 'cmd= init= separator= nullvalue= vfs= newline=',
      unlisted: 'flag',
    },
    stdin: 'never',
  },
  {
    family: 'gnuplot',
    names: named('gnuplot'),
    grammar: { short: 'e:ds', unlisted: 'flag', permutes: true },
    code: '-e',
  },
  { family: 'ed', names: named('r?ed'), grammar: { short: 'Glrsp:', unlisted: 'flag' }, stdin: 'always' },
  {
    family: 'emacs',
    names: named('emacs emacs-\\w+ emacsclient'),
    grammar: {
      short: 'f:l:L:Q:qe:u:',
      singleDash: true,
      long: 'eval= execute= load= funcall= insert= script= directory=',
      unlisted: 'flag',
      permutes: true,
    },
    code: '-e --eval --execute',
    stdin: 'never',
  },
  {
    family: 'gdb',
    names: named('gdb gdb-multiarch gdbtui'),
    grammar: {
      short: 'x:p:c:s:e:d:b:l:nqw',
      singleDash: true,
      abbreviations: true,
      long: `ex= iex= eval-command= init-eval-command= command= init-command= ix= core= pid= exec= symbols= se=
        directory= data-directory= cd= tty= args batch batch-silent nx nh quiet silent version help`,
      permutes: true,
    },
    code: '--ex --iex --eval-command --init-eval-command',
    stdin: 'always',
  },
  {
    family: 'lldb',
    names: named('lldb'),
    grammar: {
      short: 'o:O:k:K:s:S:c:f:n:p:a:w:bQxeX',
      long: 'one-line= one-line-before-file= one-line-on-crash= source=',
      unlisted: 'flag',
      permutes: true,
    },
    code: '-o -O -k --one-line --one-line-before-file --one-line-on-crash',
    stdin: 'always',
  },
];

// perlrun(1): `-M'strict;CODE'` becomes `use strict;CODE`, and the pattern of `-F` a part of a statement.
function isPerlCode({ name, value }: Option): boolean {
  const text = value?.text ?? '';
  if (name === '-M' || name === '-m') return !/^-?[\w:]+(?:=[\w:,!/-]*)?$/.test(text);
  if (name === '-d') return !/^t?(?::[\w:]+(?:=[\w,]*)?)?$/.test(text);
  return name === '-F' && /^\s*["'/]/.test(text) && !/^(["'/])[^"'/]*\1$/.test(text);
}

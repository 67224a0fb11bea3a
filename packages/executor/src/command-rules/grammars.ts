import type { Grammar } from './grammar.ts';

// `-o NAME`: bash and dash take the next word and go on with the letters, ksh and zsh take the rest of the word; `-O`
// and `-R` take a word in one shell and none in another. `sh` may be any of them, so every reading counts for all.
export const shell: Grammar = {
  short: 'abcefhiklmnprstuvxyBCDEGHIKLMNPTVXo;O;A;R;',
  plus: true,
  dash: 'end',
  // bash(1) takes its long options with one dash too.
  singleDash: true,
  long: `init-file= rcfile= emulate= norc noprofile noediting posix login restricted verbose debugger dump-strings
    dump-po-strings pretty-print protected help version`,
};

// `--no-…` is a flag throughout. What is not listed (new options, V8's) may take the next word or not.
export const node: Grammar = {
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
export const powershell: Grammar = {
  short: '',
  singleDash: true,
  abbreviations: true,
  last: '--file',
  long: `command= commandwithargs= cwa= encodedcommand= ec= encodedarguments= ea= file= configurationfile=
  configurationname= custompipename= executionpolicy= ex= ep= inputformat= inp= if= outputformat= of= o=
  settingsfile= psconsolefile= version= windowstyle= workingdirectory= wd= interactive login mta noexit nologo
  noninteractive noprofile noprofileloadtime sshservermode sta help`,
};

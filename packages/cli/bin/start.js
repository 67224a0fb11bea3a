// Starts what there is: the bundle beside this file, the package's compiled code, or, in a checkout, the sources.
const { existsSync, statSync } = require('node:fs');
const { join } = require('node:path');

// What is kept is code that will be run: it must lie where nobody else can put anything. With sudo, HOME may still be
// the caller's; a shared temporary folder, which is Node's default, is anybody's.
function cacheFolder() {
  try {
    const home = process.env.HOME || require('node:os').homedir();
    const base = process.env.XDG_CACHE_HOME || home;
    if (!isOurs(base)) return undefined;
    const steps = [...(base === home ? ['.cache'] : []), 'csc', 'compile-cache'];
    let folder = base;
    for (const step of steps) {
      folder = join(folder, step);
      if (existsSync(folder) && !isOurs(folder)) return undefined;
    }
    return folder;
  } catch {
    return undefined;
  }
}

function isOurs(folder) {
  const { uid, mode } = statSync(folder);
  return process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0);
}

// Output passes in buffers that lie outside of V8's heap and are given back with a few hundred bytes in its young space: one
// that may grow to 64 MiB, as it does by default, keeps hundreds of megabytes of them that nobody needs any more. It is kept
// at the size that it has once the code is loaded; that of an executor at the size that it starts with.
// node:v8, which brings the streams with it, is loaded for services alone.
const keepsYoungSpace = ['--semi-space-growth-factor=1', '--semi-space-growth-factor=2'];
if (process.argv[2] === 'executor') require('node:v8').setFlagsFromString(keepsYoungSpace[0]);

// What only a process that starts can be told. V8 begins with a young space of 1 MiB, which a run fills several times.
//
// That of a gate holds what 64 calls have under way in 8 MiB: where it is smaller much of that moves on into the old space, where
// collecting it is dear. V8 makes it small while there is little to do, so it must be free to grow again.
//
// What a run needs lives long enough to leave the young space. Left to itself V8 lets it pile up to several times of what is in use
// before it collects: after 10,000 runs a third of a gate's memory is nobody's. It collects at half more, but for a gate that is being
// brought output (packages/common/src/service/collect.ts).
const collectsSoon = '--heap-growing-percent=50';
const asItStarts = {
  gate: [collectsSoon, '--max-semi-space-size=8'],
  executor: [collectsSoon, '--min-semi-space-size=4'],
};
const flagsAtStart = asItStarts[process.argv[2]];
if (flagsAtStart !== undefined && !process.execArgv.includes(flagsAtStart[0])) startAgain();

// malloc, too, reads what it is to do when a process starts (mallopt(3); what is set there by its owner stays). What needs a lot for a
// moment, as V8's compilers do, would leave it free in a heap for each thread, and a service does little on threads that could wait
// for each other. From 20 KiB on a piece is the kernel's again once it is free, where the heap has no room for it just then: so is what
// OpenSSL fills with zeros for a handshake (21 KiB), which would become the buffer that Node keeps for each connection (16 KiB),
// of which most is never written to. What a gate is brought comes in pieces below that. An executor has few handshakes, and each message of
// output that it sends is encrypted in pieces of a quarter of a megabyte: fresh memory for each, which the kernel fills with zeros, was a
// tenth of its work. It stays the same process.
function startAgain() {
  const mappedFrom = { gate: '20480', executor: '524288' };
  const args = [process.execPath, ...flagsAtStart, ...process.execArgv, ...process.argv.slice(1)];
  const heap = {
    MALLOC_ARENA_MAX: '1',
    MALLOC_MMAP_THRESHOLD_: mappedFrom[process.argv[2]],
    MALLOC_TOP_PAD_: '16384',
    MALLOC_TRIM_THRESHOLD_: '1048576',
  };
  process.execve?.(process.execPath, args, { ...heap, ...process.env });
}

// Code compiled under other flags is no code to V8, and that of Node's own modules is under none: a flag is set once all is loaded, and
// taken back before what was compiled is kept.
const lateFlags = {
  submit: keepsYoungSpace,
  get: keepsYoungSpace,
  attach: keepsYoungSpace,
};
if (Object.hasOwn(lateFlags, process.argv[2])) {
  const [flag, undone] = lateFlags[process.argv[2]];
  setImmediate(() => require('node:v8').setFlagsFromString(flag));
  process.prependListener('exit', () => require('node:v8').setFlagsFromString(undone));
}

// Whoever has a database waits for its disk in one of libuv's threads (common's WriteAheadLog), of which there are four by default:
// four outputs that are being put on disk would hold up every commit.
const isService = ['gate', 'executor'].includes(process.argv[2]);
if (isService) process.env.UV_THREADPOOL_SIZE ??= '12';

// What a run leaves behind is on disk and closed by the time it is over, and a check leaves nothing: to take its heap apart piece by
// piece, as Node does where nothing is left to be done, would only keep whoever waits for it. Who reads slowly still gets all of what
// was written.
//
// Of a service all of that is closed, too; a connection that is yet to be made is not (grpc-js gives up none), and one to a gate whose
// host answers nothing would keep a process that was told to end for two minutes.
const isOneShot = ['check', 'run'].includes(process.argv[2]);
function endAtOnce() {
  if (!['stdout', 'stderr'].some(holdsBack)) process.exit();
}

// Most ends never ask for a stream (packages/cli/src/terminal/streams.ts), which would load all of Node's for it: until then another
// getter than Node's is in its place.
const streams = { stdout: getter('stdout'), stderr: getter('stderr') };
function holdsBack(name) {
  return getter(name) === streams[name] && process[name].writableLength > 0;
}

function getter(name) {
  return Object.getOwnPropertyDescriptor(process, name).get;
}

const folder = cacheFolder();
// The bundle of such a command has the program in it (scripts/build.ts).
const bundle = join(__dirname, isOneShot ? `command-${process.argv[2]}.cjs` : 'main.cjs');
let ended;
if (existsSync(bundle)) {
  // Services start seldom, and some under flags of V8 for which nothing compiled before counts. Who names a cache has said where.
  const isTold =
    process.env.NODE_COMPILE_CACHE !== undefined || process.env.NODE_DISABLE_COMPILE_CACHE !== undefined;
  const isKept = folder !== undefined && !isService && !isTold;
  if (isKept) require('./kept-code.js').keepCode(join(folder, 'called'));
  else if (folder !== undefined) require('node:module').enableCompileCache(folder);
  ended = require(bundle).main(process.argv.slice(2));
} else {
  if (folder !== undefined) require('node:module').enableCompileCache(folder);
  const { pathToFileURL } = require('node:url');
  const compiled = join(__dirname, '..', 'lib', 'main.js');
  const main = existsSync(compiled) ? compiled : join(__dirname, '..', 'src', 'main.ts');
  ended = import(pathToFileURL(main).href).then((module) => module.main(process.argv.slice(2)));
}
// Whatever it rejects with ends the process, as what nobody catches does.
if (isOneShot || isService) void ended.then(endAtOnce);

// What a process has compiled of the bundle by its end, kept for those that come after it. Node's own compile cache keeps
// what is compiled as a file loads: of a bundle that is little, as all that runs in it is compiled when it is first called.
const { isAscii } = require('node:buffer');
const {
  closeSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writevSync,
} = require('node:fs');
const { basename, dirname, join } = require('node:path');
const { Script } = require('node:vm');

// A process adds what those before it have not called; after so many, or once that is little (a tenth more), only one in sixteen looks
// again, and what it finds is written where it is worth a write.
const generations = 3;
const oneIn = 16;
const isLittle = (had, has) => has < had * 1.1;
const isWorthAWrite = (had, has) => has >= had * 1.02;
// Of each file: as it is in other versions, for other versions of Node, and under other flags.
const mostKept = 6;
// How much there is in all, the generation, and which file it was compiled from.
const identityAt = 8;
const headerBytes = identityAt + 5 * 8;
// A file that is written again within one tick of the kernel's clock has the time of before (4 ms; 10 at most).
const youngMs = 20;

const before = Buffer.from('(function (exports, require, module, __filename, __dirname) { ');
const after = Buffer.from('\n})');

const loaded = [];

/**
 * Has what is required of the bundle run from what is kept in `folder`, and keeps it anew at the end of the process.
 * The folder is code that will be run: nobody else may write into it. `flags` is one word for the flags of V8 that the
 * process has set: V8 takes only what was compiled under those that it has.
 */
exports.keepCode = (folder, flags = 'plain') => {
  require.extensions['.cjs'] = (module, filename) => {
    const { text, identity, name } = readSource(filename);
    const path = join(folder, `${name}-${process.version}-${process.arch}-${flags}`);
    const kept = readKept(path, identity);
    const script = new Script(text, { filename, ...(kept === undefined ? {} : { cachedData: kept.data }) });
    const used = script.cachedDataRejected === false ? kept : undefined;
    loaded.push({
      script,
      identity,
      path,
      generation: used?.generation ?? 0,
      size: used?.data.length ?? 0,
    });
    const run = script.runInThisContext();
    // As Node makes one, without what else a bundle does not ask of it, for which node:module would be loaded.
    const required = (id) => module.require(id);
    required.main = require.main;
    run.call(module.exports, module.exports, required, module, filename, dirname(filename));
  };
  process.on('exit', () => {
    try {
      for (const it of loaded) if (mayHaveMore(it)) keep(folder, it);
    } catch {
      // It is the next process that compiles it again.
    }
  });
};

// The text as a function, made in one piece: a megabyte that is put together is copied once more.
function readSource(filename) {
  const fd = openSync(filename, 'r');
  try {
    const first = fstatSync(fd, { bigint: true });
    const size = Number(first.size);
    const bytes = Buffer.allocUnsafeSlow(before.length + size + after.length);
    before.copy(bytes);
    for (let at = 0; at < size; ) {
      const read = readSync(fd, bytes, before.length + at, size - at, at);
      if (read === 0) throw new Error(`${filename} was cut off while it was read`);
      at += read;
    }
    after.copy(bytes, before.length + size);
    const isWhole = toIdentity(fstatSync(fd, { bigint: true })).equals(toIdentity(first));
    const isOld = Date.now() - Number(first.ctimeMs) > youngMs;
    return {
      text: isAscii(bytes) ? bytes.latin1Slice() : bytes.utf8Slice(),
      identity: isWhole && isOld ? toIdentity(first) : undefined,
      name: `${basename(filename)}-${size}-${first.ino}`,
    };
  } finally {
    closeSync(fd);
  }
}

// Who writes to a file, or puts another in its place, changes one of these; nobody can set ctime (inode(7)).
function toIdentity({ dev, ino, size, mtimeNs, ctimeNs }) {
  return Buffer.from(BigInt64Array.of(dev, ino, size, mtimeNs, ctimeNs).buffer);
}

// V8 tells two sources apart by their length alone: what was compiled is taken for the very file that it was compiled from.
function readKept(path, identity) {
  try {
    const bytes = readFileSync(path);
    if (bytes.readUInt32LE(0) !== bytes.length) return undefined;
    if (!identity?.equals(bytes.subarray(identityAt, headerBytes))) return undefined;
    return { generation: bytes.readUInt32LE(4), data: bytes.subarray(headerBytes) };
  } catch {
    return undefined;
  }
}

function mayHaveMore({ identity, generation }) {
  return identity !== undefined && (generation < generations || process.pid % oneIn === 0);
}

function keep(folder, { script, identity, path, generation, size }) {
  const data = script.createCachedData();
  if (generation >= generations && !isWorthAWrite(size, data.length)) return;
  const header = Buffer.alloc(identityAt);
  header.writeUInt32LE(headerBytes + data.length, 0);
  header.writeUInt32LE(isLittle(size, data.length) ? generations : generation + 1, 4);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const made = `${path}.${process.pid}.new`;
  const fd = openSync(made, 'w', 0o600);
  try {
    writevSync(fd, [header, identity, data]);
    // By its name it is whole, even after a crash of the machine: V8 does not look at what it is given.
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(made, path);
  forgetOld(folder, path);
}

function forgetOld(folder, path) {
  const ours = path.slice(0, path.indexOf('.cjs-') + 5);
  const files = readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((it) => it.startsWith(ours))
    .map((it) => ({ path: it, at: lstatSync(it).mtimeMs }))
    .sort((one, other) => other.at - one.at);
  for (const { path: old } of files.slice(mostKept)) rmSync(old, { force: true });
}

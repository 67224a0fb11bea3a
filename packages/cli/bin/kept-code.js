// What a process has compiled of the bundle by its end, kept for those that come after it. Node's own compile cache keeps
// what is compiled as a file loads: of a bundle that is little, as all that runs in it is compiled when it is first called.
const {
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
} = require('node:fs');
const { renameSync, rmSync, writevSync } = require('node:fs');
const { createRequire } = require('node:module');
const { basename, dirname, join } = require('node:path');
const { cachedDataVersionTag } = require('node:v8');
const { Script } = require('node:vm');

// A process adds what those before it have not called; after so many, or once that is little, only one in sixteen looks again.
const generations = 3;
const oneIn = 16;
// Of each file: as it is in other versions, for other versions of Node, and under other flags.
const mostKept = 6;
const headerBytes = 12;

const loaded = [];

/**
 * Has what is required of the bundle run from what is kept in `folder`, and keeps it anew at the end of the process.
 * The folder is code that will be run: nobody else may write into it.
 */
exports.keepCode = (folder) => {
  require.extensions['.cjs'] = (module, filename) => {
    const source = readFileSync(filename);
    const tag = cachedDataVersionTag();
    const path = join(folder, `${basename(filename)}-${source.length}-${tag.toString(16)}`);
    const kept = readKept(path, source);
    const text = `(function (exports, require, module, __filename, __dirname) { ${source.toString()}\n})`;
    const script = new Script(text, { filename, ...(kept === undefined ? {} : { cachedData: kept.data }) });
    const used = script.cachedDataRejected === false ? kept : undefined;
    loaded.push({
      script,
      source,
      path,
      tag,
      generation: used?.generation ?? 0,
      size: used?.data.length ?? 0,
    });
    const run = script.runInThisContext();
    run.call(module.exports, module.exports, createRequire(filename), module, filename, dirname(filename));
  };
  process.on('exit', () => {
    try {
      for (const it of loaded) if (mayHaveMore(it)) keep(folder, it);
    } catch {
      // It is the next process that compiles it again.
    }
  });
};

// V8 tells two sources apart by their length alone: what was compiled is taken for the very bytes that it was compiled from.
function readKept(path, source) {
  try {
    const bytes = readFileSync(path);
    const from = headerBytes + source.length;
    if (bytes.readUInt32LE(0) !== bytes.length || bytes.readUInt32LE(4) !== source.length) return undefined;
    if (bytes.compare(source, 0, source.length, headerBytes, from) !== 0) return undefined;
    return { generation: bytes.readUInt32LE(8), data: bytes.subarray(from) };
  } catch {
    return undefined;
  }
}

function mayHaveMore({ generation, tag }) {
  return tag === cachedDataVersionTag() && (generation < generations || process.pid % oneIn === 0);
}

function keep(folder, { script, source, path, generation, size }) {
  const data = script.createCachedData();
  if (generation >= generations && data.length < size * 1.02) return;
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(headerBytes + source.length + data.length, 0);
  header.writeUInt32LE(source.length, 4);
  header.writeUInt32LE(data.length < size * 1.1 ? generations : generation + 1, 8);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const made = `${path}.${process.pid}.new`;
  const fd = openSync(made, 'w', 0o600);
  try {
    writevSync(fd, [header, source, data]);
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

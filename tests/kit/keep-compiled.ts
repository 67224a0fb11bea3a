import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cachedDataVersionTag, setFlagsFromString } from 'node:v8';
import { constants, Script } from 'node:vm';

// Runs before the bundled csc of the tests. Node's own compile cache keeps what is compiled as a file loads; of a bundle that
// is little, as all that runs in it is compiled when it is first called, anew in each of hundreds of processes, which
// takes a fifth of a start. So this keeps what a process has compiled by its end, for those that come after it.
const folder = join(dirname(fileURLToPath(import.meta.url)), '../whole');
/** So many processes may each add what the ones before have not called. */
const generations = 3;

interface Loaded {
  readonly script: Script;
  readonly name: string;
  readonly generation: number;
  readonly size: number;
  readonly tag: number;
}
const loaded: Loaded[] = [];

// As a service does soon after: V8 takes only what was compiled under the flags that it has.
if (['gate', 'executor'].includes(process.argv[2] ?? ''))
  setFlagsFromString('--external-memory-accounted-in-global-limit');

/** The last generation that is there of a file. */
function lastOf(name: string): { generation: number; data?: Buffer } {
  try {
    const kept = readdirSync(folder).filter((file) => file.startsWith(`${name}.`) && !file.endsWith('.new'));
    const generation = Math.max(0, ...kept.map((file) => Number(file.slice(name.length + 1))));
    return generation === 0
      ? { generation }
      : { generation, data: readFileSync(join(folder, `${name}.${generation}`)) };
  } catch {
    return { generation: 0 };
  }
}

const { extensions } = createRequire(import.meta.url);
extensions['.cjs'] = (module, filename) => {
  const tag = cachedDataVersionTag();
  const name = `${basename(filename)}-${tag}`;
  const { generation, data } = lastOf(name);
  const parameters = 'exports, require, module, __filename, __dirname';
  const script = new Script(`(function (${parameters}) { ${readFileSync(filename, 'utf8')}\n})`, {
    filename,
    ...(data === undefined ? {} : { cachedData: data }),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  loaded.push({ script, name, generation, size: data?.length ?? 0, tag });
  const run = script.runInThisContext();
  run.call(module.exports, module.exports, createRequire(filename), module, filename, dirname(filename));
};

process.on('exit', () => {
  for (const { script, name, generation, size, tag } of loaded) {
    if (generation >= generations || tag !== cachedDataVersionTag()) continue;
    try {
      const data = script.createCachedData();
      // One that adds little is the last one.
      const next = data.length < size * 1.1 ? generations : generation + 1;
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      const made = join(folder, `${name}.${process.pid}.new`);
      writeFileSync(made, data);
      renameSync(made, join(folder, `${name}.${next}`));
    } catch {
      // Another user's process: it only reads.
    }
  }
});

// Bundles the csc command into packages/cli/dist: a folder that runs anywhere with Node 24 and nothing else.
// It is CommonJS and one file a command, as that starts fastest: no module loader, and nothing read in vain.
// `node scripts/build.ts DIR` builds somewhere else, and every FILE.ts that follows as a program beside it, FILE.cjs.
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

const root = fileURLToPath(new URL('../', import.meta.url));
const source = `${root}packages/cli/src`;
const [dist = `${root}packages/cli/dist`, ...programs] = process.argv.slice(2);

const bundleOf = (command: string): string => `command-${basename(command, '.ts')}`;

// The program loads a command's own bundle where its sources load the command's file.
const commandsApart: Plugin = {
  name: 'commands apart',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^\.\/commands\/.*\.ts$/ }, ({ path }) => ({
      path: `./${bundleOf(path)}.cjs`,
      external: true,
    }));
  },
};

// Commander starts programs for commands that are programs of their own; csc has none, and node:child_process takes 2 ms.
const withoutPrograms: Plugin = {
  name: 'without programs',
  setup: ({ onLoad }) => {
    onLoad({ filter: /node_modules\/commander\/lib\/command\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      const contents = text.replace("import childProcess from 'node:child_process';\n", '');
      if (contents === text) throw new Error(`${path} does not import node:child_process as it did`);
      return { contents, loader: 'js' };
    });
  },
};

// What schemas are described with, JSON Schema alone is made from: csc schema. Each description is a copy of its schema, of which
// there are hundreds, and anything that starts makes them all.
const withoutDescriptions: Plugin = {
  name: 'without descriptions',
  setup: ({ onLoad }) => {
    onLoad({ filter: /node_modules\/zod\/v4\/classic\/schemas\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      const contents = text.replace(describe, '$1        return this;\n    },\n');
      if (contents === text) throw new Error(`${path} does not describe schemas as it did`);
      return { contents, loader: 'js' };
    });
  },
};
const describe =
  /( {4}meta\(\.\.\.args\) \{\n)[^}]*core\.globalRegistry\.add\(cl, args\[0\]\);\n {8}return cl;\n {4}\},\n/;

// A schema that nothing in a bundle asks for is not made: a third of those that a run would make are of files of a fleet. Making
// one does nothing else, which a bundler cannot know of a call.
const withoutUnasked: Plugin = {
  name: 'without unasked schemas',
  setup: ({ onLoad }) => {
    onLoad({ filter: /packages\/\w+\/src\/.*\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      return /^import .*'zod';$/m.test(text)
        ? { contents: text.replace(madeByCall, '$1/* @__PURE__ */ (() => $2)();'), loader: 'ts' }
        : undefined;
    });
  },
};

// As formatted: what a statement at the margin goes on with is indented, or closes a bracket.
const madeByCall = /^((?:export )?const \w+ =\s+)(\w+(?:\s*\.\w+)*\((?:.*\n(?=[\s)}\]]))*.*\));$/gm;

// What the quickest commands load on occasion alone is beside them: in the same file it would be read each time, and everything that
// it shares with the rest be wrapped in functions. It has its own copy of that, classes included: what it throws is not theirs.
const quickest = ['check.ts', 'run.ts'].map(bundleOf);
const occasional = new Map<string, string>();
const occasionsApart: Plugin = {
  name: 'occasions apart',
  setup: ({ onResolve, resolve }) => {
    onResolve({ filter: /./ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
      if (kind !== 'dynamic-import' || pluginData === occasional) return undefined;
      const found = await resolve(path, { kind, importer, resolveDir, pluginData: occasional });
      if (found.external || found.errors.length > 0) return undefined;
      const steps = relative(root, found.path).replace(/\.\w+$/, '');
      const name = `apart-${steps.replace(/^.*node_modules\/|^packages\//, '').replaceAll(/\W+/g, '-')}`;
      occasional.set(name, found.path);
      return { path: `./${name}.cjs`, external: true };
    });
  },
};

// What verifying loads of X.509 where a CA has name constraints, and at once: beside them all. In one file, as a library of another
// copy does not know its types.
const x509Apart: Plugin = {
  name: 'X.509 apart',
  setup: ({ onLoad, onResolve }) => {
    onLoad({ filter: /\/evidence\/node-x509\.ts$/ }, () => ({
      contents: "export const loadX509 = () => require('./apart-x509.cjs').loadX509();",
    }));
    onResolve({ filter: /^\.\/apart-x509\.cjs$/ }, ({ path }) => ({ path, external: true }));
  },
};

// The SDK of OpenTelemetry, where a command's environment asks for traces: most never do. Services have it in theirs.
const tracingApart: Plugin = {
  name: 'tracing apart',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^@csc-fleet\/common\/open-tracing$/ }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: './apart-open-tracing.cjs', external: true } : undefined,
    );
  },
};

// Beside those that the program loads stands what several of them share.
const program = readFileSync(`${source}/program.ts`, 'utf8');
const commands = [...new Set(program.match(/(?<=import\('\.\/commands\/)[\w-]+\.ts(?='\))/g) ?? [])];
rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
const entries = Object.fromEntries(commands.map((file) => [bundleOf(file), `${source}/commands/${file}`]));
const describes = bundleOf('schema.ts');
const { [describes]: describing = '', ...others } = entries;
// Node's own modules take 1 to 10 ms each, and what is asked of a command is mostly answered without half of them: they are loaded
// by the first use of something in them. Not in services, which use them all, and often.
const isLate =
  /(?<== ?)require\("node:(?:child_process|crypto|dns\/promises|fs\/promises|https?|net|sqlite|stream|timers\/promises|tls|zlib)"\)/g;
const late = `const $late=name=>{let made;return new Proxy({},{get:(_,key)=>(made??=require(name))[key]})};`;
const services = ['gate.ts', 'executor.ts'].map(bundleOf);

function loadLate(folder: string): void {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.cjs'))) {
    if (services.includes(basename(file, '.cjs'))) continue;
    const text = readFileSync(`${folder}/${file}`, 'utf8');
    const at = text.indexOf('const $url=');
    const lazy = text.replace(isLate, (call) => call.replace('require', '$late'));
    if (lazy !== text) writeFileSync(`${folder}/${file}`, lazy.slice(0, at) + late + lazy.slice(at));
  }
}

const bundle = (entryPoints: Record<string, string>, plugins: Plugin[]) =>
  build({
    entryPoints,
    outdir: dist,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node24',
    // `import()` becomes `require`, which does not go through the module loader.
    supported: { 'dynamic-import': false },
    // In a profile names are worth more than bytes.
    ...(process.env['CSC_BUILD_READABLE'] ? { minifySyntax: true, sourcemap: true } : { minify: true }),
    legalComments: 'linked',
    plugins: [commandsApart, withoutPrograms, withoutUnasked, x509Apart, tracingApart, ...plugins],
    // Bundled packages look for their protobuf files in ../../proto from where they were, our own code beside itself:
    // both find the bundle's proto folder.
    define: { 'import.meta.url': '$url', __dirname: '$dirname' },
    banner: {
      js: "const $url=require('node:url').pathToFileURL(__filename).href,$dirname=__dirname+'/build/src';",
    },
    logLevel: 'warning',
  });
await bundle({ [describes]: describing }, []);
const those = (areQuickest: boolean) =>
  Object.fromEntries(Object.entries(others).filter(([name]) => quickest.includes(name) === areQuickest));
await bundle(those(true), [withoutDescriptions, occasionsApart]);
await bundle(
  {
    ...Object.fromEntries(occasional),
    main: `${source}/main.ts`,
    'apart-x509': `${source}/evidence/browser/x509.ts`,
    'apart-open-tracing': `${root}packages/common/src/telemetry/open-tracing.ts`,
    ...those(false),
    ...Object.fromEntries(programs.map((file) => [basename(file, '.ts'), file])),
  },
  [withoutDescriptions],
);

loadLate(dist);

const protos = {
  proto: 'proto',
  'node_modules/grpc-health-check/proto': 'proto',
  'node_modules/@grpc/reflection/build/proto/grpc': 'proto/grpc',
};
for (const [from, to] of Object.entries(protos)) {
  const filter = (path: string): boolean => !path.endsWith('.binpb');
  cpSync(`${root}${from}`, `${dist}/${to}`, { recursive: true, filter });
}
const scripts = readdirSync(`${root}packages/cli/bin`).filter((name) => name.endsWith('.js'));
for (const file of [...scripts.map((name) => `packages/cli/bin/${name}`), 'LICENSE']) {
  cpSync(`${root}${file}`, `${dist}/${basename(file)}`);
}
// It need not have been compiled: without it jobs start by slower ways.
if (existsSync(`${root}packages/sandbox/bin`))
  cpSync(`${root}packages/sandbox/bin`, `${dist}/bin`, { recursive: true });
// What opens terminals, for each machine that it was installed for.
for (const machine of ['linux-x64', 'linux-arm64']) {
  const native = `${root}node_modules/@lydell/node-pty-${machine}/pty.node`;
  if (existsSync(native)) cpSync(native, `${dist}/bin/pty-${machine}.node`);
}
chmodSync(`${dist}/csc.js`, 0o755);
// The scripts are CommonJS, as a Node that is too old must be able to read them.
writeFileSync(`${dist}/package.json`, `${JSON.stringify({ type: 'commonjs' })}\n`);

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
import { banner, loadLate } from './bundle/load-late.ts';
import {
  checkRewritten,
  withoutDescriptions,
  withoutPrograms,
  withoutUnasked,
  withProgram,
  x509Apart,
} from './bundle/rewrites.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const source = `${root}packages/cli/src`;
const [dist = `${root}packages/cli/dist`, ...programs] = process.argv.slice(2);

const bundleOf = (command: string): string => `command-${basename(command, '.ts')}`;

// The program loads a command's own bundle where its sources load the command's file.
const commandsApart: Plugin = {
  name: 'commands apart',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^\.\/commands\/.*\.ts$/ }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path: `./${bundleOf(path)}.cjs`, external: true } : undefined,
    );
  },
};

// What the quickest commands load on occasion alone is beside them: in the same file it would be read each time, and
// everything that it shares with the rest be wrapped in functions. It has its own copy of that, classes included: what
// it throws is not theirs.
const quickest = ['check', 'run'];
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
const services = ['gate.ts', 'executor.ts'].map(bundleOf);

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
    banner: { js: banner },
    logLevel: 'warning',
  });
await bundle({ [describes]: describing }, []);
for (const command of quickest) {
  const { [bundleOf(command)]: entry = '' } = others;
  const plugins = [...withProgram(command), withoutDescriptions, occasionsApart];
  await bundle({ [bundleOf(command)]: entry }, plugins);
}
const isQuickest = (name: string): boolean => quickest.map(bundleOf).includes(name);
await bundle(
  {
    ...Object.fromEntries(occasional),
    main: `${source}/main.ts`,
    'apart-x509': `${source}/evidence/browser/x509.ts`,
    'apart-open-tracing': `${root}packages/common/src/telemetry/open-tracing.ts`,
    ...Object.fromEntries(Object.entries(others).filter(([name]) => !isQuickest(name))),
    ...Object.fromEntries(programs.map((file) => [basename(file, '.ts'), file])),
  },
  [withoutDescriptions],
);

loadLate(dist, services);
checkRewritten();

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

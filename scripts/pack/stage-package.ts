// Lays a workspace package out as it is shipped: JavaScript, declarations and source maps, and a package.json to match.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { dependenciesOf, type Manifest, packagesDir, readManifest, toBuilt, toShipped } from './manifest.ts';

const compiler = join(packagesDir, '../node_modules/.bin/tsc');
// The compiler is a Go program that ends within seconds: collecting garbage takes it a third of them.
const uncollected = { GOGC: 'off', GOMEMLIMIT: '1GiB' };

/**
 * Lays the package out in `root`/`name`, after those that it stands on. What is there already is taken as it is, so
 * that several packages can share one root.
 * @param name the package's folder, such as "client"
 */
export function stagePackage(name: string, root: string): void {
  const target = join(root, name);
  if (existsSync(target)) return;
  const manifest = readManifest(name);
  for (const dependency of dependenciesOf(manifest)) stagePackage(dependency, root);
  mkdirSync(target, { recursive: true });
  const home = join(packagesDir, name);
  compile({ name, home, manifest, root, kind: 'module', out: join(target, 'lib') });
  // Two copies of everything: `require` has no other way that every Node and every TypeScript setting understands.
  if (manifest.csc?.commonjs === true) {
    compile({ name, home, manifest, root, kind: 'commonjs', out: join(target, 'lib/cjs') });
    writeFileSync(join(target, 'lib/cjs/package.json'), '{ "type": "commonjs" }\n');
  }
  for (const [from, to] of Object.entries(manifest.csc?.copy ?? {})) {
    cpSync(join(home, from), join(target, 'lib', to), {
      recursive: true,
      filter: (it) => !it.endsWith('.binpb'),
    });
  }
  for (const it of ['bin', 'native']) {
    if (existsSync(join(home, it))) cpSync(join(home, it), join(target, it), { recursive: true });
  }
  cpSync(join(home, 'README.md'), join(target, 'README.md'));
  cpSync(join(packagesDir, '../LICENSE'), join(target, 'LICENSE'));
  writeFileSync(join(target, 'package.json'), `${JSON.stringify(toShipped(manifest), null, 2)}\n`);
}

type ModuleKind = 'module' | 'commonjs';

interface Compilation {
  readonly name: string;
  readonly home: string;
  readonly manifest: Manifest;
  /** Where the packages that it stands on are laid out. */
  readonly root: string;
  readonly kind: ModuleKind;
  readonly out: string;
}

// The compiler tells ES modules from CommonJS by the nearest package.json: each kind is compiled from a copy that has
// one of its own, and that lies where imports find the same packages.
function compile(compilation: Compilation): void {
  const { home, manifest, kind, out } = compilation;
  const copy = mkdtempSync(join(home, '.pack-'));
  try {
    cpSync(join(home, 'src'), join(copy, 'src'), { recursive: true, filter: isShipped });
    writeFileSync(join(copy, 'package.json'), JSON.stringify({ ...manifest, type: kind }));
    writeFileSync(join(copy, 'tsconfig.json'), JSON.stringify(compilerConfig(compilation)));
    execFileSync(compiler, ['-p', copy], {
      stdio: ['ignore', 2, 2],
      env: { ...process.env, ...uncollected },
    });
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  for (const file of globSync('**/*.d.ts', { cwd: out })) {
    const path = join(out, file);
    const text = readFileSync(path, 'utf8');
    // The compiler finds a way to a type that its package does not export, and it leads there on this machine alone.
    if (text.includes(`${basename(compilation.root)}/`))
      throw new Error(
        `${path} names a type by where it lies here: export it, or say the type of what has it`,
      );
    writeFileSync(path, text.replaceAll(relativeSource, '$1.js$2'));
  }
  if (kind === 'module') return;
  for (const file of globSync('**/*.js', { cwd: out })) {
    const text = readFileSync(join(out, file), 'utf8');
    if (text.includes(whereModule)) writeFileSync(join(out, file), text.replaceAll(whereModule, whereScript));
  }
}

// What the compiler leaves in CommonJS, where it is no word of the language.
const [whereModule, whereScript] = ['import.meta.url', "require('node:url').pathToFileURL(__filename).href"];

// What the compiler rewrites in JavaScript, and leaves alone in declarations.
const relativeSource = /((?:from |import\()(?:'|")\.{1,2}\/[^'"]+)\.ts('|")/g;

function isShipped(path: string): boolean {
  return !path.endsWith('.test.ts');
}

function compilerConfig({ manifest, root, kind, out }: Compilation): object {
  const folder = kind === 'commonjs' ? 'lib/cjs' : 'lib';
  const libraries = dependenciesOf(manifest).flatMap((name) =>
    Object.entries(readManifest(name).exports).map(([entry, source]) => [
      `@csc-fleet/${name}${entry.slice(1)}`,
      [join(root, name, toBuilt(source, folder, '.d.ts'))],
    ]),
  );
  return {
    extends: join(packagesDir, '../tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      allowImportingTsExtensions: false,
      rewriteRelativeImportExtensions: true,
      declaration: true,
      sourceMap: true,
      inlineSources: true,
      rootDir: 'src',
      outDir: out,
      ...(manifest.csc?.language ?? {}),
      // `make types` checks everything in the language of the tree: what is left is what has one of its own, once.
      noCheck: kind === 'commonjs' || manifest.csc?.language === undefined,
      verbatimModuleSyntax: kind === 'module',
      paths: Object.fromEntries(libraries),
    },
    include: ['src/**/*.ts'],
  };
}

// What the package.json of a workspace package says, in the tree and as it is shipped.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The folder of all workspace packages. */
export const packagesDir = fileURLToPath(new URL('../../packages', import.meta.url));

/** As far as packing looks at it. */
export interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  /** For packing alone, and not shipped, as is `csc`. */
  readonly scripts?: Readonly<Record<string, string>>;
  readonly csc?: {
    /** Whether `require` gets files of its own. */
    readonly commonjs?: boolean;
    /** What the oldest Node.js of `engines` knows, in the compiler's words. Default: the tree's own. */
    readonly language?: { readonly target: string; readonly lib: readonly string[] };
    /** Folders that belong beside the code: from the package's folder to below lib. */
    readonly copy?: Readonly<Record<string, string>>;
  };
}

const scope = '@csc-fleet/';

/** The folders of all workspace packages. */
export function packageNames(): string[] {
  return readdirSync(packagesDir).sort();
}

/** @param name the package's folder, such as "client" */
export function readManifest(name: string): Manifest {
  return JSON.parse(readFileSync(`${packagesDir}/${name}/package.json`, 'utf8')) as Manifest;
}

/** The folders of the workspace packages that it stands on. */
export function dependenciesOf({ dependencies = {} }: Manifest): string[] {
  return Object.keys(dependencies).flatMap((it) => (it.startsWith(scope) ? [it.slice(scope.length)] : []));
}

/** Where the compiler puts what it makes of a source file: `./src/x.ts` → `./lib/x.js`. */
export function toBuilt(source: string, folder: string, ending: string): string {
  return source.replace(/^\.\/src\//, `./${folder}/`).replace(/\.ts$/, ending);
}

/** The same package.json with every export led from its source to what buildPackage makes of it. */
export function toShipped({ csc, exports, scripts: _ours, ...rest }: Manifest): object {
  const toConditions = (path: string): object => ({
    import: { types: toBuilt(path, 'lib', '.d.ts'), default: toBuilt(path, 'lib', '.js') },
    ...(csc?.commonjs === true
      ? { require: { types: toBuilt(path, 'lib/cjs', '.d.ts'), default: toBuilt(path, 'lib/cjs', '.js') } }
      : {}),
  });
  const shipped = Object.entries(exports).map(([name, path]) => [name, toConditions(path)]);
  return { ...rest, exports: { ...Object.fromEntries(shipped), './package.json': './package.json' } };
}

/** A new empty folder to lay packages out in. It is inside the tree, where declarations find the libraries they name. */
export function makeStage(): string {
  const out = `${packagesDir}/../out`;
  mkdirSync(out, { recursive: true });
  return mkdtempSync(`${out}/pack-`);
}

import { readFileSync } from 'node:fs';
import type { Plugin } from 'esbuild';

// What is bundled otherwise than it is written. Each saves a start of csc some milliseconds (docs/performance.md), and
// is written for texts that may change: those of libraries with the next version, ours by anybody.

const unmet = new Set<string>();

/** Throws where a rewrite has met nothing to rewrite: once all is built, by whichever bundle. */
export function checkRewritten(): void {
  if (unmet.size === 0) return;
  const names = [...unmet].join(', ');
  throw new Error(`scripts/bundle/rewrites.ts has met nothing that it was written for: ${names}`);
}

/** Has the files whose paths fit bundled as `change` makes them. */
function rewrite(name: string, filter: RegExp, change: (text: string) => string): Plugin {
  unmet.add(name);
  return {
    name,
    setup({ onLoad }) {
      onLoad({ filter }, ({ path }) => {
        const text = readFileSync(path, 'utf8');
        const contents = change(text);
        if (contents === text) return undefined;
        unmet.delete(name);
        return { contents, loader: path.endsWith('.ts') ? 'ts' : 'js' };
      });
    },
  };
}

/** Commander starts programs for commands that are programs of their own; csc has none, and node:child_process takes 2 ms. */
export const withoutPrograms = rewrite(
  'without programs',
  /node_modules\/commander\/lib\/command\.js$/,
  (text) => text.replace("import childProcess from 'node:child_process';\n", ''),
);

const describe =
  /( {4}meta\(\.\.\.args\) \{\n)[^}]*core\.globalRegistry\.add\(cl, args\[0\]\);\n {8}return cl;\n {4}\},\n/;

/**
 * What schemas are described with, JSON Schema alone is made from: csc schema, which is bundled without this. Each
 * description is a copy of its schema, of which there are hundreds, and anything that starts makes them all.
 */
export const withoutDescriptions = rewrite(
  'without descriptions',
  /node_modules\/zod\/v4\/classic\/schemas\.js$/,
  (text) => text.replace(describe, '$1        return this;\n    },\n'),
);

// As formatted: what a statement at the margin goes on with is indented, or closes a bracket.
const madeByCall = /^((?:export )?const \w+ =\s+)(\w+(?:\s*\.\w+)*\((?:.*\n(?=[\s)}\]]))*.*\));$/gm;

/**
 * A schema that nothing in a bundle asks for is not made: a third of those that a run would make are of files of a
 * fleet. Making one does nothing else, which a bundler cannot know of a call; so whatever a file that imports zod makes
 * by a call counts as one.
 */
export const withoutUnasked = rewrite('without unasked schemas', /packages\/\w+\/src\/.*\.ts$/, (text) =>
  /^import .*'zod';$/m.test(text) ? text.replace(madeByCall, '$1/* @__PURE__ */ (() => $2)();') : text,
);

const inPlaceOfX509 = rewrite(
  'X.509 apart',
  /\/evidence\/node-x509\.ts$/,
  () => "export const loadX509 = () => require('./apart-x509.cjs').loadX509();\n",
);

/**
 * What verifying loads of X.509 where a CA has name constraints, and at once: beside all bundles. In one file, as a
 * library of another copy does not know its types.
 */
export const x509Apart: Plugin = {
  name: inPlaceOfX509.name,
  async setup(build) {
    await inPlaceOfX509.setup(build);
    build.onResolve({ filter: /^\.\/apart-x509\.cjs$/ }, ({ path }) => ({ path, external: true }));
  },
};

/**
 * The program in the bundle of a command that is started more often than any other: a start reads one file instead of
 * two, and makes once what both have of ours. The bundle then exports `main` too.
 * @param command its file's name, without `.ts`
 */
export function withProgram(command: string): Plugin[] {
  const file = `./commands/${command}.ts`;
  const load = new RegExp(`\\(await import\\('${file.replaceAll('.', '\\.')}'\\)\\)\\.(\\w+)`);
  return [
    rewrite(`the program beside ${command}`, new RegExp(`/cli/src/commands/${command}\\.ts$`), (text) =>
      text.concat("export { main } from '../main.ts';\n"),
    ),
    rewrite(`${command} in the program`, /\/cli\/src\/program\.ts$/, (text) => {
      const [whole, define] = load.exec(text) ?? [];
      if (whole === undefined) return text;
      return text.replace(whole, `${define}`).concat(`import { ${define} } from '${file}';\n`);
    }),
  ];
}

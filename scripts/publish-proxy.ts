// Writes the program of the egress proxy's process, one text of packages/executor/src/egress/proxy-child.ts and all that
// it imports. With --check, writes nothing and fails where it differs.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';

const egress = join(import.meta.dirname, '../packages/executor/src/egress');
const file = join(egress, 'proxy-program.ts');

// Modules of ours do nothing when they are loaded: of what nobody uses nothing is taken along.
const pure: Plugin = {
  name: 'pure',
  setup: ({ onResolve, resolve }) => {
    onResolve({ filter: /^@csc-fleet\// }, async ({ path, pluginData, ...where }) => {
      if (pluginData === pure) return undefined;
      const { importer, kind, resolveDir } = where;
      const found = await resolve(path, { importer, kind, resolveDir, pluginData: pure });
      return { ...found, sideEffects: false };
    });
  },
};

const { outputFiles } = await build({
  entryPoints: [join(egress, 'proxy-child.ts')],
  bundle: true,
  write: false,
  format: 'cjs',
  platform: 'node',
  target: 'node24',
  minifySyntax: true,
  minifyWhitespace: true,
  // Readable where it must be looked into: a stack trace names its functions.
  charset: 'ascii',
  legalComments: 'none',
  plugins: [pure],
  logLevel: 'warning',
});
const text = outputFiles[0]?.text ?? '';
const due = `// Written by make generate (scripts/publish-proxy.ts) from proxy-child.ts.\n\n/** What Node runs in the process of a proxy: CommonJS, whole. */\nexport const proxyProgram = ${JSON.stringify(text)};\n`;

if (!process.argv.includes('--check')) writeFileSync(file, due);
else if (!existsSync(file) || readFileSync(file, 'utf8') !== due) {
  process.stderr.write('packages/executor/src/egress/proxy-program.ts is not current: run make generate\n');
  process.exitCode = 1;
}

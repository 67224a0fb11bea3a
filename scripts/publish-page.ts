// Writes the program of the page in audit bundles, one text of packages/cli/src/evidence/browser/page-main.ts and all that
// it imports, for a browser. With --check, writes nothing and fails where it differs.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';

const evidence = join(import.meta.dirname, '../packages/cli/src/evidence');
const browser = join(evidence, 'browser');
const file = join(evidence, 'page-program.ts');

// What Node has and a browser has not. Modules of ours do nothing when they are loaded: of what nobody uses nothing is
// taken along, which is how whatever reads files or speaks TLS stays out.
const inBrowser: Plugin = {
  name: 'in browser',
  setup: ({ onResolve, onLoad, resolve }) => {
    // CommonJS, as that may lack what is imported of it and never used.
    const inPlace = (path: string) => ({ path, namespace: 'in place', sideEffects: false });
    onResolve({ filter: /^node:/ }, () => inPlace('node.ts'));
    onResolve({ filter: /\/node-ed25519\.ts$/ }, () => inPlace('ed25519.ts'));
    onResolve({ filter: /\/node-p256\.ts$/ }, () => inPlace('p256.ts'));
    onResolve({ filter: /\/node-x509\.ts$/ }, () => ({ path: join(browser, 'x509.ts'), sideEffects: false }));
    onLoad({ filter: /./, namespace: 'in place' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(`./${path}`)});`,
      resolveDir: browser,
    }));
    onResolve({ filter: /^(@csc-fleet\/|\.)/ }, async ({ path, pluginData, ...where }) => {
      if (pluginData === inBrowser || where.importer.includes('/node_modules/')) return undefined;
      const { importer, kind, resolveDir } = where;
      const found = await resolve(path, { importer, kind, resolveDir, pluginData: inBrowser });
      return found.path.endsWith('noble-ed25519.ts') ? found : { ...found, sideEffects: false };
    });
  },
};

const { outputFiles } = await build({
  entryPoints: [join(browser, 'page-main.ts')],
  bundle: true,
  write: false,
  format: 'iife',
  platform: 'browser',
  target: 'es2022',
  minify: true,
  charset: 'ascii',
  legalComments: 'none',
  inject: [join(browser, 'buffer.ts')],
  plugins: [inBrowser],
  logLevel: 'warning',
});
const text = (outputFiles[0]?.text ?? '').trimEnd();
if (/<\/script|<!--/i.test(text)) throw new Error('the page would end in the middle of its program');
const due = `// Written by make generate (scripts/publish-page.ts) from browser/page-main.ts.\n\n/** What a browser runs in the page of an audit bundle. */\nexport const pageProgram = ${JSON.stringify(text)};\n`;

if (!process.argv.includes('--check')) writeFileSync(file, due);
else if (!existsSync(file) || readFileSync(file, 'utf8') !== due) {
  process.stderr.write('packages/cli/src/evidence/page-program.ts is not current: run make generate\n');
  process.exitCode = 1;
}

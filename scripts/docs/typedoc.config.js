// The API reference: every export of every package, from its docstrings. `make docs` writes it to docs/api.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

// What starts a service is not for programs to call.
const entryPoints = globSync(`${root}packages/*/package.json`).flatMap((manifest) => {
  const { exports = {} } = JSON.parse(readFileSync(manifest, 'utf8'));
  const files = Object.entries(exports).filter(([name]) => name !== './main');
  return files.map(([, file]) => join(dirname(manifest), file));
});

export default {
  name: 'CSC Fleet',
  readme: `${root}packages/client/README.md`,
  tsconfig: `${root}scripts/docs/tsconfig.json`,
  basePath: `${root}packages`,
  entryPoints,
  out: `${root}docs/api`,
  exclude: ['**/gen/**'],
  disableGit: true,
  sourceLinkTemplate: '{path}',
  hideGenerator: true,
  validation: { notExported: false, invalidLink: true, notDocumented: false },
};

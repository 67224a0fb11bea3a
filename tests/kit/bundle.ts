import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { programs } from './programs.ts';

// A service sets this flag when it starts: V8 takes only what was compiled under the flags that it has.
const keptCsc = `
const { join } = require('node:path');
if (['gate', 'executor'].includes(process.argv[2])) {
  const { setFlagsFromString } = require('node:v8');
  setFlagsFromString('--external-memory-accounted-in-global-limit');
}
// The two do not set the same; commands take theirs back before their end (packages/cli/bin/start.js).
const flags = ['gate', 'executor'].find((name) => name === process.argv[2]);
require('./kept-code.js').keepCode(join(__dirname, 'whole'), flags);
require('./csc.js');
`;

/**
 * Builds csc-launcher where its sources have changed, csc as it is shipped, and the programs of the tests beside it, once for all tests, unless CSC_BIN names another:
 * they start it hundreds of times, and the sources take twice as long. What one process has compiled, of the bundle
 * (as csc does it for itself, services included) or of the sources (Node's compile cache), is there for the next ones.
 */
export default function buildBundle(): () => void {
  // Of the sources that are here: one of others may set limits that the tests do not expect.
  execFileSync(join(import.meta.dirname, '../../scripts/build-launcher.sh'));
  if (process.env['CSC_BIN'] !== undefined) return () => undefined;
  const directory = mkdtempSync(join(tmpdir(), 'csc-bundle-'));
  // Some tests start it as another user.
  chmodSync(directory, 0o755);
  const script = join(import.meta.dirname, '../../scripts/build.ts');
  execFileSync(process.execPath, [script, join(directory, 'dist'), ...Object.values(programs)], {
    cwd: join(import.meta.dirname, '../..'),
    // esbuild ends before there is much to collect: collecting it all the same takes a third of its time.
    env: { ...process.env, GOGC: 'off', GOMEMLIMIT: '2GiB' },
  });
  process.env['CSC_BIN'] = join(directory, 'dist/csc-kept.js');
  writeFileSync(process.env['CSC_BIN'], keptCsc);
  process.env['NODE_COMPILE_CACHE'] = join(directory, 'compiled');
  return () => rmSync(directory, { recursive: true, force: true });
}

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';

/**
 * How each bundle begins. Bundled packages look for their protobuf files in ../../proto from where they were, our own code beside
 * itself: both find the bundle's proto folder.
 */
export const banner =
  "const $url=require('node:url').pathToFileURL(__filename).href,$dirname=__dirname+'/build/src';";

const late =
  'const $late=name=>{let made;return new Proxy({},{get:(_,key)=>(made??=require(name))[key]})},' +
  '$whole=module=>({__proto__:module,default:module});';
// As esbuild writes what a module of Node's is imported by.
const isLate =
  /(?<== ?)require\("node:(?:child_process|crypto|dns\/promises|fs\/promises|https?|module|net|os|sqlite|stream|timers\/promises|tls|zlib)"\)/g;
// As it writes one that is imported whole, or by its default: what the call gives is a copy of a module of a hundred members.
const isCopied = /(?<== ?)[\w$]+\((require\("node:\w+"\)), ?1\)/g;

/**
 * Node's own modules take 1 to 10 ms each, and what is asked of a command is mostly answered without half of them: the
 * bundles of a folder load them by the first use of something in them, and copy none. Not `services`, which use them
 * all, and often. Throws where no bundle has any.
 */
export function loadLate(folder: string, services: readonly string[]): void {
  let rewritten = 0;
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.cjs'))) {
    if (services.includes(basename(file, '.cjs'))) continue;
    const text = readFileSync(`${folder}/${file}`, 'utf8');
    const whole = text.replace(isCopied, (_, module: string) => `$whole(${module})`);
    const lazy = whole.replace(isLate, (call) => call.replace('require', '$late'));
    if (lazy === text) continue;
    if (!lazy.includes(banner)) throw new Error(`${file} does not have its banner`);
    // In its place behind "use strict" and a line for the system.
    writeFileSync(
      `${folder}/${file}`,
      lazy.replace(banner, () => late + banner),
    );
    rewritten += 1;
  }
  if (rewritten === 0)
    throw new Error('no bundle loads a module of Node’s as scripts/bundle/load-late.ts knows it');
}

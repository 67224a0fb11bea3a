import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

// V8 tells code that was compiled under other flags by this number, and by nothing else which flags it has.
const program = `
import { setTimeout as wait } from 'node:timers/promises';
import { cachedDataVersionTag } from 'node:v8';
import { tendHeap } from ${JSON.stringify(new URL('tend-heap.ts', import.meta.url).href)};
using _tended = tendHeap(20);
const flags = [cachedDataVersionTag()];
async function untilOthers(work) {
  while (cachedDataVersionTag() === flags.at(-1)) await work();
  flags.push(cachedDataVersionTag());
}
async function beBusy() {
  const begun = performance.now();
  while (performance.now() - begun < 50);
  await wait(0);
}
await untilOthers(() => wait(20));
await untilOthers(beBusy);
await untilOthers(() => wait(20));
console.log(flags[1] === flags[3] && flags[1] !== flags[2]);
`;

it('has V8 save memory while there is little to do, and no longer', () => {
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    // For what never comes.
    timeout: 20_000,
  });
  expect(said).toBe('true\n');
});

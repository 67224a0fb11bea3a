import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

const program = `
import { setImmediate } from 'node:timers/promises';
import { cachedDataVersionTag as flags } from 'node:v8';
import { OutputIntake } from ${JSON.stringify(new URL('intake.ts', import.meta.url).href)};
const before = flags();
const seen = [];
const intake = new OutputIntake({ store: { with: (_, use) => use() } });
for (const turn of [1, 2]) {
  const gone = new AbortController();
  intake.hold('e', gone.signal);
  seen.push(flags() === before);
  gone.abort();
  await setImmediate();
  seen.push(flags() === before);
}
intake.hold('e', AbortSignal.abort());
seen.push(flags() === before);
console.log(seen.join());
`;

it('lets the heap grow while output may come, and no longer', () => {
  const args = ['--heap-growing-percent=50', '--input-type=module', '-e', program];
  const said = execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
  expect(said).toBe('false,true,false,true,true\n');
});

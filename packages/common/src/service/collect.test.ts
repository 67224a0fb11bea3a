import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

// V8 tells code that was compiled under other flags by this number, and by nothing else which flags it has.
const program = `
import { cachedDataVersionTag as flags } from 'node:v8';
import { letHeapGrow } from ${JSON.stringify(new URL('collect.ts', import.meta.url).href)};
const before = flags();
const seen = [];
const see = () => seen.push(flags() === before ? 'as started' : 'roomy');
const first = letHeapGrow();
see();
const second = letHeapGrow();
first[Symbol.dispose]();
first[Symbol.dispose]();
see();
second[Symbol.dispose]();
see();
letHeapGrow();
see();
console.log(seen.join());
`;

it.each([{ started: ['--heap-growing-percent=50'] }, { started: [] }])(
  'the heap may grow for as long as anybody needs it to, and then as it might before: $started',
  ({ started }) => {
    const args = [...started, '--input-type=module', '-e', program];
    const said = execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
    expect(said).toBe('roomy,roomy,as started,roomy\n');
  },
);

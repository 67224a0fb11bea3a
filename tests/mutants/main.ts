// Puts each fault of the table into a copy of the sources, and demands that the named test notices it.
import { parseArgs } from 'node:util';
import type { Mutant } from './mutant.ts';
import { checkSound, runTests, type Verdict } from './run-tests.ts';
import { Scratch } from './scratch.ts';
import { mutants } from './table.ts';

const { values } = parseArgs({ options: { only: { type: 'string' }, quick: { type: 'boolean' } } });
const chosen = choose();
const left = new AbortController();
process.once('SIGINT', () => left.abort()).once('SIGTERM', () => left.abort());
const scratch = new Scratch(`${import.meta.dirname}/../..`);
try {
  await checkSound(scratch.path, chosen, left.signal);
  let missed = 0;
  for (const mutant of chosen) {
    const began = performance.now();
    const verdict = await tryOne(mutant);
    if (verdict.kind !== 'killed') missed += 1;
    console.log(describe(mutant, verdict, (performance.now() - began) / 1000));
  }
  console.log(`\n${chosen.length - missed} of ${chosen.length} mutants killed`);
  if (missed > 0) process.exitCode = 1;
} finally {
  scratch.remove();
}

// By name, several with commas between them; those of every change; or all.
function choose(): readonly Mutant[] {
  const { only, quick = false } = values;
  const names =
    only?.split(',') ?? mutants.filter((mutant) => !quick || mutant.quick).map(({ name }) => name);
  return names.map((name) => {
    const mutant = mutants.find((it) => it.name === name);
    if (mutant !== undefined) return mutant;
    throw new Error(`there is no mutant ${name}. There are:\n${mutants.map((it) => it.name).join('\n')}`);
  });
}

async function tryOne(mutant: Mutant): Promise<Verdict> {
  try {
    return await scratch.with(mutant, () => runTests(scratch.path, mutant, left.signal));
  } catch (error) {
    left.signal.throwIfAborted();
    return { kind: 'stale', detail: error instanceof Error ? error.message : String(error) };
  }
}

function describe({ name, red }: Mutant, { kind, detail }: Verdict, seconds: number): string {
  const columns = `${kind.padEnd(9)} ${name.padEnd(40)} ${seconds.toFixed(1).padStart(5)} s`;
  return kind === 'killed' ? `${columns}  ${red}` : `${columns}\n          ${detail}`;
}

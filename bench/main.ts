// Measures what benchmarks name, each beside its baseline in the same run. `--only NAME` runs one row.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { printRows, type Row, writeRows } from './report.ts';

const benchmarks: Record<string, () => Promise<{ measure: () => Promise<Row[]> }>> = {
  latency: () => import('./latency.ts'),
  decisions: () => import('./decisions.ts'),
  output: () => import('./output.ts'),
  'one-shot': () => import('./one-shot.ts'),
};

// What users run. tests/kit reads this when a benchmark loads it.
process.env['CSC_BIN'] ??= fileURLToPath(new URL('../packages/cli/dist/csc.js', import.meta.url));

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const names = values.only === undefined ? Object.keys(benchmarks) : [values.only];
const rows: Row[] = [];
for (const name of names) {
  const load = benchmarks[name];
  if (load === undefined) {
    process.stderr.write(`no benchmark ${name}; there are: ${Object.keys(benchmarks).join(', ')}\n`);
    process.exit(64);
  }
  process.stderr.write(`bench: ${name} …\n`);
  rows.push(...(await (await load()).measure()));
}
printRows(rows);
writeRows(rows, 'out/bench.json');
process.stderr.write('bench: written to out/bench.json\n');

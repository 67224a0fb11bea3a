// Measures what benchmarks name, each beside its baseline in the same run: `make bench`, `make bench-long`.
import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { probeHost } from '@csc-fleet/sandbox/doctor';
import { publishReports } from './document.ts';
import { printRows, type Row, readReport, toReport, writeReport } from './report.ts';
import { spans } from './rounds.ts';

interface Benchmark {
  /** Whether `make bench` runs it; if not, `make bench-long` does. */
  readonly quick: boolean;
  readonly load: () => Promise<{ measure: () => Promise<Row[]> }>;
}

const benchmarks: Readonly<Record<string, Benchmark>> = {
  latency: { quick: true, load: () => import('./latency.ts') },
  throughput: { quick: true, load: () => import('./throughput.ts') },
  decisions: { quick: true, load: () => import('./decisions.ts') },
  output: { quick: true, load: () => import('./output.ts') },
  'one-shot': { quick: true, load: () => import('./one-shot.ts') },
  'idle-fleet': { quick: true, load: () => import('./idle-fleet.ts') },
  queue: { quick: false, load: () => import('./queue.ts') },
  history: { quick: false, load: () => import('./history.ts') },
  memory: { quick: false, load: () => import('./memory.ts') },
  'slow-reader': { quick: false, load: () => import('./slow-reader.ts') },
};

const usage = `node bench/main.ts [options]
  --only a,b      these rows; default: the quick ones
  --long          the rows that are not quick
  --smoke         a hundredth of each row: shows that it works, and measures nothing
  --against FILE  an earlier report, whose figures stand beside these
  --spans FILE    writes when what is ours was measured, for profiles
  --publish a,b   puts these reports into docs/performance.md, and runs nothing
rows: ${Object.keys(benchmarks).join(', ')}
`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    long: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    against: { type: 'string' },
    spans: { type: 'string' },
    publish: { type: 'string' },
  },
});

function chooseRows(): string[] {
  const names = values.only?.split(',') ?? Object.keys(benchmarks);
  const unknown = names.filter((name) => benchmarks[name] === undefined);
  if (unknown.length > 0) return refuse(`there is no row ${unknown.join(', ')}\n${usage}`);
  return values.only === undefined ? names.filter((name) => benchmarks[name]?.quick !== values.long) : names;
}

function refuse(message: string): never {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(64);
}

function readBefore(file: string): ReturnType<typeof readReport> {
  try {
    return readReport(file);
  } catch (error) {
    return refuse(describeError(error));
  }
}

/** Where sandboxes cannot be had there is nothing to measure, and the reason is the sandbox package's. */
async function requireSandbox(): Promise<void> {
  try {
    await probeHost();
  } catch (error) {
    refuse(`this host cannot run sandboxes: ${describeError(error)}`);
  }
}

function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function measureAll(names: readonly string[]): Promise<{ rows: Row[]; failed: string[] }> {
  const rows: Row[] = [];
  const failed: string[] = [];
  for (const name of names) {
    process.stderr.write(`bench: ${name} …\n`);
    const begin = performance.now();
    try {
      const measured = await (await benchmarks[name]?.load())?.measure();
      rows.push(...(measured ?? []));
      process.stderr.write(`bench: ${name} took ${((performance.now() - begin) / 1000).toFixed(0)} s\n`);
    } catch (error) {
      failed.push(name);
      process.stderr.write(`bench: ${name} failed: ${describeError(error)}\n`);
    }
  }
  return { rows, failed };
}

function writeRows(rows: readonly Row[]): void {
  const file = `out/bench${values.smoke ? '-smoke' : values.long ? '-long' : ''}.json`;
  writeReport(toReport(rows), file);
  const missed = rows.filter(({ met }) => met === false).length;
  const verdict = values.smoke
    ? 'they work, and no figure counts'
    : `${missed} of ${rows.length} rows miss their bar`;
  process.stderr.write(`bench: written to ${file}; ${verdict}\n`);
}

async function main(): Promise<void> {
  if (values.publish !== undefined) return publishReports(values.publish.split(','));
  const names = chooseRows();
  // What users run. tests/kit reads this when a benchmark loads it.
  const bundle = fileURLToPath(new URL('../packages/cli/dist/csc.js', import.meta.url));
  if (!existsSync(process.env['CSC_BIN'] ?? bundle)) refuse('there is no bundle to measure: make build');
  process.env['CSC_BIN'] ??= bundle;
  if (values.smoke) process.env['CSC_BENCH_SHARE'] = '0.01';
  const before = values.against === undefined ? undefined : readBefore(values.against);
  await requireSandbox();
  const { rows: measured, failed } = await measureAll(names);
  // Of so little work no figure says anything, and none is held against its bar.
  const rows = values.smoke ? measured.map(({ met: _, ...row }) => ({ ...row, bar: '' })) : measured;
  printRows(rows, before);
  if (values.spans === undefined) writeRows(rows);
  // What is profiled is slower for that: its figures are nobody's.
  else writeFileSync(values.spans, JSON.stringify(spans));
  if (failed.length > 0) refuse(`could not be run: ${failed.join(', ')}`);
}

await main();

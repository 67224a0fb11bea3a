// Runs rows of the benchmarks with a profile of each process, and writes a flame graph a row into out/profile:
// `make bench-profile ONLY=latency`. What is measured is the bundle with its names left in. With `--publish`, graphs and tables
// go into docs/performance as well; with `--draw`, nothing is run, and what was profiled last is drawn again.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { documentFile, replaceBlock } from '../document.ts';
import { toFlameGraph } from './flame.ts';
import { readProfiles, type Span } from './read.ts';
import { toRoomTable } from './rooms.ts';

const repository = fileURLToPath(new URL('../../', import.meta.url));
const out = join(repository, 'out/profile');
const microsBetweenSamples = 500;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    share: { type: 'string', default: '0.25' },
    publish: { type: 'boolean', default: false },
    draw: { type: 'boolean', default: false },
  },
});

function run(script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): void {
  const done = spawnSync(process.execPath, [join(repository, script), ...args], {
    cwd: repository,
    env: { ...process.env, ...env },
    stdio: 'inherit',
  });
  if (done.status === 0) return;
  process.stderr.write(`bench-profile: ${script} ended with ${done.status ?? done.signal}\n`);
  process.exit(1);
}

function profile(row: string, bundle: string): void {
  const directory = join(out, row);
  const spans = join(directory, 'spans.json');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const flags = ['--cpu-prof', `--cpu-prof-dir=${directory}`, `--cpu-prof-interval=${microsBetweenSamples}`];
  run('bench/main.ts', ['--only', row, '--spans', spans], {
    NODE_OPTIONS: flags.join(' '),
    CSC_BIN: join(bundle, 'csc.js'),
    CSC_BENCH_SHARE: values.share,
  });
}

function draw(row: string): void {
  const directory = join(out, row);
  const parts = readProfiles(
    directory,
    JSON.parse(readFileSync(join(directory, 'spans.json'), 'utf8')) as Span[],
  );
  const [graph, table] = [toFlameGraph(`${row}: where its processes work`, parts), toRoomTable(parts)];
  writeFileSync(join(out, `${row}.svg`), graph);
  process.stdout.write(`\n### ${row}\n\n${table}\n\nbench-profile: out/profile/${row}.svg\n`);
  if (!values.publish) return;
  const published = fileURLToPath(new URL('../../docs/performance/', import.meta.url));
  mkdirSync(published, { recursive: true });
  writeFileSync(join(published, `${row}.svg`), graph);
  replaceBlock(documentFile, `profile ${row}`, `${table}\n\n[Flame graph](performance/${row}.svg)`);
}

const rows = values.only?.split(',') ?? [];
if (rows.length === 0) {
  process.stderr.write('bench-profile: say which rows: ONLY=latency,output\n');
  process.exit(64);
}
const bundle = join(out, 'bundle');
if (!values.draw) {
  run('scripts/build.ts', [bundle], { CSC_BUILD_READABLE: '1' });
  for (const row of rows) profile(row, bundle);
}
for (const row of rows) draw(row);

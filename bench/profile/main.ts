// Runs rows of the benchmarks with a profile of each process, and writes a flame graph a row into out/profile:
// `make bench-profile ONLY=latency`. What is measured is the bundle with its names left in.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { toFlameGraph } from './flame.ts';
import { readProfiles, type Span } from './read.ts';
import { toRoomTable } from './rooms.ts';

const repository = fileURLToPath(new URL('../../', import.meta.url));
const out = join(repository, 'out/profile');
const microsBetweenSamples = 500;

const { values } = parseArgs({
  options: { only: { type: 'string' }, share: { type: 'string', default: '0.25' } },
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
  const parts = readProfiles(directory, JSON.parse(readFileSync(spans, 'utf8')) as Span[]);
  writeFileSync(join(out, `${row}.svg`), toFlameGraph(`${row}: where its processes work`, parts));
  writeFileSync(join(out, `${row}.md`), `${toRoomTable(parts)}\n`);
  process.stdout.write(`\n### ${row}\n\n${toRoomTable(parts)}\n\nbench-profile: out/profile/${row}.svg\n`);
}

const rows = values.only?.split(',') ?? [];
if (rows.length === 0) {
  process.stderr.write('bench-profile: say which rows: ONLY=latency,output\n');
  process.exit(64);
}
const bundle = join(out, 'bundle');
run('scripts/build.ts', [bundle], { CSC_BUILD_READABLE: '1' });
for (const row of rows) profile(row, bundle);

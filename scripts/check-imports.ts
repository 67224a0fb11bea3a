// The rooms of the architecture: who may import whom, and no circles between files.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

const allowed: Record<string, readonly string[]> = {
  common: [],
  gate: ['common'],
  executor: ['common'],
  client: ['common'],
  cli: ['common', 'gate', 'executor', 'client'],
};

const faults: string[] = [];
const graph = new Map<string, string[]>();

for (const file of globSync('packages/*/src/**/*.ts')) {
  if (file.endsWith('.test.ts')) continue;
  const room = file.split('/')[1] ?? '';
  const text = readFileSync(file, 'utf8');
  const edges: string[] = [];
  for (const match of text.matchAll(/^(?:import|export)\s[^;]*?from\s+'([^']+)'|import\('([^']+)'\)/gms)) {
    const target = match[1] ?? match[2] ?? '';
    const other = /^@csc-fleet\/([a-z]+)/.exec(target)?.[1];
    if (other !== undefined && other !== room && !allowed[room]?.includes(other)) {
      faults.push(`${file}: ${room} must not import ${other}`);
    }
    const typeOnly = /^(?:import|export)\s+type\s/.test(match[0]);
    if (target.startsWith('.') && !typeOnly && match[1] !== undefined)
      edges.push(normalize(join(dirname(file), target)));
  }
  graph.set(file, edges);
}

const state = new Map<string, 'open' | 'done'>();
function visit(file: string, trail: readonly string[]): void {
  if (state.get(file) === 'done') return;
  if (state.get(file) === 'open') {
    faults.push(`circular import: ${[...trail.slice(trail.indexOf(file)), file].join(' → ')}`);
    return;
  }
  state.set(file, 'open');
  for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
  state.set(file, 'done');
}
for (const file of graph.keys()) visit(file, []);

for (const fault of faults) process.stderr.write(`${fault}\n`);
if (faults.length > 0) process.exitCode = 1;

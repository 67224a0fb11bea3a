// Writes the tables of docs/observability.md from the tables of instruments. With --check, writes nothing and fails where
// they differ.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InstrumentFacts, InstrumentTable } from '@csc-fleet/common/telemetry';
import { serviceInstruments } from '@csc-fleet/common/telemetry';
import { executorInstruments } from '../packages/executor/src/telemetry/instruments.ts';
import { gateInstruments } from '../packages/gate/src/telemetry/instruments.ts';

const file = join(import.meta.dirname, '..', 'docs', 'observability.md');

const kinds = { counter: 'counter', total: 'counter', gauge: 'gauge', histogram: 'histogram' } as const;

function own(table: InstrumentTable): InstrumentTable {
  return Object.fromEntries(
    Object.entries(table).filter(([name]) => !Object.hasOwn(serviceInstruments, name)),
  );
}

function row(name: string, { kind, means, labels = {} }: InstrumentFacts): string {
  const told = Object.entries(labels).map(([label, facts]) => {
    const most = 'most' in facts ? ` (${facts.most} at most)` : '';
    return `\`${label}\`: ${facts.means}${most}`;
  });
  return `| \`${name}\` | ${kinds[kind]} | ${means} | ${told.join('; ')} |\n`;
}

function toTable(table: InstrumentTable): string {
  const rows = Object.entries(table).map(([name, facts]) => row(name, facts));
  return `| metric | type | it is | labels |\n| --- | --- | --- | --- |\n${rows.join('')}`;
}

const tables = {
  gate: toTable(own(gateInstruments)),
  executor: toTable(own(executorInstruments)),
  both: toTable(serviceInstruments),
};

function withTables(text: string): string {
  return Object.entries(tables).reduce((current, [name, table]) => {
    const [begin, end] = [`<!-- metrics of ${name}: written by make generate -->`, '<!-- end -->'];
    const at = current.indexOf(begin);
    const until = current.indexOf(end, at);
    if (at < 0 || until < 0) throw new Error(`docs/observability.md has no place for the metrics of ${name}`);
    return `${current.slice(0, at + begin.length)}\n\n${table}\n${current.slice(until)}`;
  }, text);
}

const is = readFileSync(file, 'utf8');
const due = withTables(is);
if (!process.argv.includes('--check')) writeFileSync(file, due);
else if (is !== due) {
  process.stderr.write('docs/observability.md is not current: run make generate\n');
  process.exitCode = 1;
}

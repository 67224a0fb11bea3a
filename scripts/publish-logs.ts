// Writes the table of docs/logs.md from the table of fields. With --check, writes nothing and fails where it differs.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { logFields } from '@csc-fleet/common/service';

const file = join(import.meta.dirname, '..', 'docs', 'logs.md');
const types = { text: 'text', number: 'number', texts: 'list of texts', object: 'object' } as const;

const rows = Object.entries(logFields).map(
  ([name, { type, means }]) => `| \`${name}\` | ${types[type]} | ${means} |\n`,
);
const table = `| field | type | it is |\n| --- | --- | --- |\n${rows.join('')}`;

const is = readFileSync(file, 'utf8');
const begin = '<!-- fields: written by make generate -->';
const [at, until] = [is.indexOf(begin), is.indexOf('<!-- end -->')];
if (at < 0 || until < 0) throw new Error('docs/logs.md has no place for the fields');
const due = `${is.slice(0, at + begin.length)}\n\n${table}\n${is.slice(until)}`;

if (!process.argv.includes('--check')) writeFileSync(file, due);
else if (is !== due) {
  process.stderr.write('docs/logs.md is not current: run make generate\n');
  process.exitCode = 1;
}

// Writes the tables of docs/logs.md from those of fields and of texts. With --check, writes nothing and fails where it differs.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { logFields } from '@csc-fleet/common/service';
import {
  type LogMessageFacts,
  type LogWriter,
  logMessages,
} from '../packages/common/src/service/log-messages.ts';

const file = join(import.meta.dirname, '..', 'docs', 'logs.md');
const types = { text: 'text', number: 'number', texts: 'list of texts', object: 'object' } as const;

const fields = Object.entries(logFields).map(
  ([name, { type, means }]) => `| \`${name}\` | ${types[type]} | ${means} |\n`,
);

const writers: readonly (readonly [LogWriter, string])[] = [
  ['both', 'Of both'],
  ['gate', 'Of a gate'],
  ['executor', 'Of an executor'],
  ['ca', 'Of a CA (`csc ca serve`), and of `csc ca renew --follow`'],
];

function messagesOf(writer: LogWriter): string {
  const own = Object.entries<LogMessageFacts>(logMessages).filter(([, { of }]) => of === writer);
  const rows = own.map(([text, { levels, remedy }]) => `| ${levels.join(', ')} | ${text} | ${remedy} |\n`);
  return `| level | \`msg\` | what to do |\n| --- | --- | --- |\n${rows.join('')}`;
}

const parts = {
  fields: `| field | type | it is |\n| --- | --- | --- |\n${fields.join('')}`,
  messages: writers.map(([writer, title]) => `### ${title}\n\n${messagesOf(writer)}`).join('\n'),
};

const is = readFileSync(file, 'utf8');
let due = is;
for (const [name, text] of Object.entries(parts)) {
  const begin = `<!-- ${name}: written by make generate -->`;
  const at = due.indexOf(begin);
  const until = due.indexOf('<!-- end -->', at);
  if (at < 0 || until < 0) throw new Error(`docs/logs.md has no place for the ${name}`);
  due = `${due.slice(0, at + begin.length)}\n\n${text}\n${due.slice(until)}`;
}

if (!process.argv.includes('--check')) writeFileSync(file, due);
else if (is !== due) {
  process.stderr.write('docs/logs.md is not current: run make generate\n');
  process.exitCode = 1;
}

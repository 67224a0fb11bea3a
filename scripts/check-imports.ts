// Holds the house to its plan (rooms.ts): who may import whom, types included, and nothing goes round.
import { globSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { findFaults } from './imports/find-faults.ts';
import { readArrows } from './imports/graph.ts';
import { house } from './rooms.ts';

const files = globSync('packages/*/src/**/*.ts').filter((file) => !file.endsWith('.test.ts'));
const texts = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]));
const faults = findFaults(readArrows({ files: texts, entries: readEntries() }), files, house);
for (const fault of faults) process.stderr.write(`${fault}\n`);
if (faults.length > 0) process.exitCode = 1;

// What may be imported of each package by its name.
function readEntries(): Map<string, string> {
  const manifests = [...globSync('packages/*/package.json'), ...globSync('tests/*/package.json')];
  return new Map(
    manifests.flatMap((path) => {
      const { name, exports = {} } = JSON.parse(readFileSync(path, 'utf8'));
      return Object.entries<unknown>(exports).flatMap(([key, target]): [string, string][] =>
        typeof target === 'string' ? expand(join(name, key), normalize(join(path, '..', target))) : [],
      );
    }),
  );
}

// An entry may stand for all files of a kind: './*': './*.ts'.
function expand(entry: string, target: string): [string, string][] {
  const [before = '', after] = target.split('*');
  if (after === undefined) return [[entry, target]];
  return globSync(`${before}**/*${after}`).map((file) => {
    const name = file.slice(before.length, file.length - after.length);
    return [entry.replace('*', name), file];
  });
}

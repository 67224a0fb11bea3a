// Writes the JSON Schemas of all artifacts to docs/schemas/. With --check, writes nothing and fails where a file
// there does not say what it would write.
import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type ArtifactName, artifactSchemas, schemaFileName } from '@csc-fleet/common/json-schema';

const root = join(import.meta.dirname, '..');
const directory = join(root, 'docs', 'schemas');
const due = new Map(
  (Object.keys(artifactSchemas) as ArtifactName[]).map((name) => [
    schemaFileName(name),
    JSON.stringify(artifactSchemas[name]),
  ]),
);
const present = globSync(join(directory, '*.json')).map((file) => basename(file));

if (process.argv.includes('--check')) check();
else publish();

function publish(): void {
  mkdirSync(directory, { recursive: true });
  for (const file of present.filter((name) => !due.has(name))) rmSync(join(directory, file));
  for (const [file, text] of due) writeFileSync(join(directory, file), text);
  execFileSync(join(root, 'node_modules', '.bin', 'biome'), ['format', '--write', directory], { cwd: root });
}

function check(): void {
  const stale = [...due].filter(([file, text]) => !present.includes(file) || compact(file) !== text);
  const files = [...stale.map(([file]) => file), ...present.filter((file) => !due.has(file))];
  for (const file of files) process.stderr.write(`docs/schemas/${file} is not current: run make generate\n`);
  if (files.length > 0) process.exitCode = 1;
}

/** The file without its formatting. */
function compact(file: string): string {
  return JSON.stringify(JSON.parse(readFileSync(join(directory, file), 'utf8')));
}

import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type Mutant, mutate } from './mutant.ts';

const sources = [
  'bench',
  'deploy',
  'docs',
  'examples',
  'packages',
  'policies',
  'proto',
  'scripts',
  'tests',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
];
const leftOut = ['node_modules', 'dist'];

/** A copy of the sources that may be broken: the working tree never is. */
export class Scratch {
  readonly path = mkdtempSync(join(tmpdir(), 'csc-mutants-'));

  constructor(root: string) {
    for (const source of sources) {
      const filter = (path: string): boolean => !leftOut.includes(basename(path));
      cpSync(join(root, source), join(this.path, source), { recursive: true, filter });
    }
    linkPackages(join(root, 'node_modules'), join(this.path, 'node_modules'));
  }

  /** Runs `body` with one mutant in the copy, and takes it out again. Throws where the table is stale. */
  async with<T>(mutant: Mutant, body: () => Promise<T>): Promise<T> {
    const file = join(this.path, mutant.file);
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, mutate(text, mutant));
    try {
      return await body();
    } finally {
      writeFileSync(file, text);
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

// Our own packages are those of the copy, as npm links them relatively; all others are the installed ones.
function linkPackages(installed: string, target: string): void {
  mkdirSync(join(target, '@csc-fleet'), { recursive: true });
  for (const name of readdirSync(installed)) {
    if (!name.startsWith('.') && name !== '@csc-fleet')
      symlinkSync(join(installed, name), join(target, name));
  }
  for (const name of readdirSync(join(installed, '@csc-fleet'))) {
    const link = join(installed, '@csc-fleet', name);
    symlinkSync(readlinkSync(link), join(target, '@csc-fleet', name));
  }
}

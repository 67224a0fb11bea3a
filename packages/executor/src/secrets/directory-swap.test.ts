import fs, {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  type Stats,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { createDirectoryProvider } from './directory-provider.ts';

// Runs between the check of what was opened and whatever comes next.
let whenChecked = (_stats: Stats): void => undefined;
// Put into Node's own module instead of vi.mock's copy of it: the files of a worker share their modules.
const { fstatSync } = fs;
beforeAll(() => {
  vi.spyOn(fs, 'fstatSync').mockImplementation((fd: number) => {
    const stats = fstatSync(fd);
    whenChecked(stats);
    return stats;
  });
  syncBuiltinESMExports();
});
afterAll(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

let home: string;
let directory: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'csc-swap-'));
  directory = join(home, 'secrets');
  mkdirSync(directory, { mode: 0o700 });
  put(directory, 'the right one');
});
afterEach(() => {
  whenChecked = () => undefined;
  rmSync(home, { recursive: true });
});

function put(where: string, value: string): void {
  writeFileSync(join(where, 'token'), value, { mode: 0o400 });
}

async function readWhile(change: (stats: Stats) => void): Promise<string> {
  whenChecked = change;
  return (await createDirectoryProvider(directory).read('token')).toString();
}

it('reads in the directory that it has checked, whatever is in its place then', async () => {
  const other = join(home, 'other');
  mkdirSync(other, { mode: 0o777 });
  put(other, 'another one');
  const swapped: string[] = [];
  const value = await readWhile((stats) => {
    if (!stats.isDirectory()) return;
    renameSync(directory, join(home, 'moved'));
    symlinkSync(other, directory);
    swapped.push(directory);
  });
  expect([value, swapped]).toEqual(['the right one', [directory]]);
});

it('reads the file that it has checked, whatever is in its place then', async () => {
  const swapped: string[] = [];
  const value = await readWhile((stats) => {
    if (!stats.isFile()) return;
    renameSync(join(directory, 'token'), join(directory, 'moved'));
    put(directory, 'another one');
    swapped.push(directory);
  });
  expect([value, swapped]).toEqual(['the right one', [directory]]);
});

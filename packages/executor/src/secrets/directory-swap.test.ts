import type * as fs from 'node:fs';
import { mkdirSync, mkdtempSync, renameSync, rmSync, type Stats, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createDirectoryProvider } from './directory-provider.ts';

// Runs between the check of what was opened and whatever comes next.
const swap = vi.hoisted(() => ({ after: (_stats: Stats): void => undefined }));
vi.mock('node:fs', async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  const fstatSync = (fd: number): Stats => {
    const stats = original.fstatSync(fd);
    swap.after(stats);
    return stats;
  };
  return { ...original, fstatSync };
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
  swap.after = () => undefined;
  rmSync(home, { recursive: true });
});

function put(where: string, value: string): void {
  writeFileSync(join(where, 'token'), value, { mode: 0o400 });
}

async function readWhile(change: (stats: Stats) => void): Promise<string> {
  swap.after = change;
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

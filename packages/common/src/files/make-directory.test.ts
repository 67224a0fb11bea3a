import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeDirectory } from './make-directory.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'csc-make-directory-'));
});

afterEach(() => rmSync(root, { recursive: true }));

const modeOf = (path: string) => statSync(path).mode & 0o777;

const refused = (message: string) => expect.objectContaining({ code: 'FILE_UNWRITABLE', message });

describe('makeDirectory', () => {
  it('makes it and those above it with the mode, and leaves what is there alone', () => {
    makeDirectory(join(root, 'a/b/c'), { mode: 0o700 });
    for (const path of ['a', 'a/b', 'a/b/c']) expect(modeOf(join(root, path))).toBe(0o700);
    makeDirectory(join(root, 'a/b'), { mode: 0o755 });
    expect(modeOf(join(root, 'a/b'))).toBe(0o700);
  });

  // Node's own recursive mkdir hangs here, at full speed.
  it('ends where the file system makes no directories', () => {
    const why = 'failed to make /proc/nowhere/x: no directory can be made there';
    expect(() => makeDirectory('/proc/nowhere/x')).toThrow(refused(why));
    const as = 'state_dir /proc/nowhere/x';
    expect(() => makeDirectory('/proc/nowhere/x', { as })).toThrow(
      refused('failed to make state_dir /proc/nowhere/x: no directory can be made there'),
    );
  });

  it('goes through a link to a directory, and refuses what is none', () => {
    symlinkSync(root, join(root, 'link'));
    makeDirectory(join(root, 'link/d'));
    expect(statSync(join(root, 'd')).isDirectory()).toBe(true);
    writeFileSync(join(root, 'file'), '');
    symlinkSync(join(root, 'nothing'), join(root, 'dangling'));
    for (const name of ['file', 'dangling']) {
      const path = join(root, name);
      expect(() => makeDirectory(path)).toThrow(
        refused(`failed to make ${path}: something else has that name`),
      );
    }
    expect(() => makeDirectory(join(root, 'file/x'))).toThrow(/a part of its path|something else/);
  });
});

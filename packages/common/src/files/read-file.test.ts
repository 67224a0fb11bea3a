import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readBoundedFile } from './read-file.ts';
import { makeFile, replaceFile } from './write-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'csc-read-file-'));
afterAll(() => rmSync(dir, { recursive: true }));

function write(name: string, content: string): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

describe('readBoundedFile', () => {
  it('gives bytes and permissions', () => {
    const path = write('a', 'x'.repeat(10_000));
    chmodSync(path, 0o640);
    const { bytes, permissions } = readBoundedFile(path, { maxBytes: 10_000 });
    expect(bytes.toString()).toBe('x'.repeat(10_000));
    expect(permissions).toBe(0o640);
  });

  it('follows symbolic links, and reads an empty file', () => {
    symlinkSync(write('empty', ''), join(dir, 'link'));
    expect(readBoundedFile(join(dir, 'link'), { maxBytes: 10 }).bytes).toHaveLength(0);
  });

  it.each([
    ['a file that is not there', () => join(dir, 'nothing')],
    ['a directory', () => dir],
    ['a device', () => '/dev/zero'],
    ['a file that does not say its size', () => '/proc/self/maps'],
    ['a file that is too long', () => write('long', 'x'.repeat(11))],
  ])('refuses %s', (_, path) => {
    expect(() => readBoundedFile(path(), { maxBytes: 10 })).toThrowError(
      expect.objectContaining({
        code: 'FILE_UNREADABLE',
        message: expect.stringContaining('failed to read'),
      }),
    );
  });
});

it('a pipe that nobody writes to is refused, not waited for', () => {
  const pipe = join(dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  // In a process of its own, which can be ended: a wait in here would be one of the whole process.
  const module = new URL('./read-file.ts', import.meta.url).href;
  const script = `import { readBoundedFile } from '${module}'; readBoundedFile('${pipe}', { maxBytes: 10 });`;
  const read = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 10_000 });
  expect(read.signal).toBeNull();
  expect(String(read.stderr)).toContain('it is not a regular file');
});

describe('replaceFile and makeFile', () => {
  it('put a file there whole, with its mode, and leave nothing beside it', () => {
    const own = join(dir, 'own');
    mkdirSync(own);
    const path = join(own, 'file');
    expect(makeFile(path, 'first', 0o600)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(makeFile(path, 'second', 0o600)).toBe(false);
    expect(readFileSync(path, 'utf8')).toBe('first');
    replaceFile(path, 'third', 0o644);
    expect([readFileSync(path, 'utf8'), statSync(path).mode & 0o777]).toEqual(['third', 0o644]);
    expect(readdirSync(own)).toEqual(['file']);
  });

  it('say what is in the way, and leave nothing either', () => {
    const own = join(dir, 'directory');
    mkdirSync(own);
    expect(() => replaceFile(own, 'x', 0o644)).toThrow(`failed to write ${own}: it is a directory`);
    expect(() => makeFile(join(dir, 'none', 'x'), 'x', 0o600)).toThrow('its directory is not there');
    // Where it can neither be made nor looked for.
    const notThere = join(dir, 'x'.repeat(300));
    expect(() => replaceFile(notThere, 'x', 0o644)).toThrow(`failed to write ${notThere}: ENAMETOOLONG`);
    expect(readdirSync(dir).filter((name) => name.includes('partial'))).toEqual([]);
  });
});

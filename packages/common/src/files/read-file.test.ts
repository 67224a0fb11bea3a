import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readBoundedFile } from './read-file.ts';

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

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashArtifacts } from './artifacts.ts';
import { fileTimeNow, measureWritten } from './files-written.ts';

let root: string;
let out: string;
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'csc-effects-'));
  out = join(root, 'out');
  mkdirSync(join(out, 'deep/er'), { recursive: true });
});

afterEach(() => rmSync(root, { recursive: true }));

describe('hashArtifacts', () => {
  const hash = (paths: string[], maxBytes = 1000) => hashArtifacts(paths, { writableRoots: [out], maxBytes });

  it('hashes regular files below a writable root, each once', async () => {
    writeFileSync(join(out, 'a'), 'alpha');
    writeFileSync(join(out, 'deep/er/b'), '');
    const [a, b] = [join(out, 'a'), join(out, 'deep/er/b')];
    expect(await hash([b, a, b, join(out, 'missing')])).toEqual([
      { path: b, sha256: sha256('') },
      { path: a, sha256: sha256('alpha') },
    ]);
  });

  it('follows no symlink out, at the end of a path or on its way', async () => {
    writeFileSync(join(root, 'host-secret'), 'secret');
    symlinkSync(join(root, 'host-secret'), join(out, 'link'));
    symlinkSync(root, join(out, 'way'));
    expect(await hash([join(out, 'link'), join(out, 'way/host-secret'), join(root, 'host-secret')])).toEqual(
      [],
    );
  });

  it('leaves out directories, pipes and what is too large, and waits for nothing', async () => {
    execFileSync('mkfifo', [join(out, 'fifo')]);
    writeFileSync(join(out, 'large'), '');
    truncateSync(join(out, 'large'), 1001);
    expect(await hash([join(out, 'deep'), join(out, 'fifo'), join(out, 'large')])).toEqual([]);
  });
});

describe('measureWritten', () => {
  it('counts what was made or changed since, whatever its dates say', async () => {
    for (const name of ['old', 'changed', 'redated']) writeFileSync(join(out, name), 'x');
    const since = await after(join(root, 'now'));
    writeFileSync(join(out, 'changed'), 'y');
    writeFileSync(join(out, 'deep/er/new'), 'z');
    utimesSync(join(out, 'redated'), 0, 0);
    symlinkSync('/etc/passwd', join(out, 'link'));
    expect((await measureWritten([out, join(out, 'deep')], since)).files).toBe(3);
    expect((await measureWritten([join(out, 'old'), join(out, 'deep/er/new')], since)).files).toBe(1);
    expect(await measureWritten([join(root, 'missing')], since)).toEqual({
      files: 0,
      bytes: 0,
      complete: true,
    });
  });
});

// The file system's clock ticks coarsely: what was written just before may carry the same time.
async function after(scratch: string): Promise<bigint> {
  const before = await fileTimeNow(scratch);
  for (;;) {
    const now = await fileTimeNow(scratch);
    if (now > before) return now;
  }
}

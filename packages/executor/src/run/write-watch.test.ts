import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Measurer } from '../evidence/measurer.ts';
import { fileTimeNow, nothingWritten, type Written } from '../evidence/written.ts';
import { watchWrites } from './write-watch.ts';

const mebibyte = 1 << 20;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'csc-watch-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

// One for all, as a host has: its child is started once.
const measurer = new Measurer();
afterAll(() => measurer.close());

// 60 is exit(2) of the one thread that calls it, 0x400 is CLONE_FILES.
const deletedByThread = `
import ctypes, mmap, threading
libc = ctypes.CDLL(None)
def hog():
  with open("gone", "wb") as file:
    os.unlink("gone")
    for _ in range(300): file.write(bytes(1 << 20)); file.flush(); time.sleep(0.01)`;

/** What a job writes, a little at a time, up to far more than it may; then it ends by itself. */
const attacks = {
  'one file, after thousands that make the tree long to walk': `
for i in range(1500): open(f"e{i}", "w").close()
with open("large", "wb") as file:
  for _ in range(300): file.write(bytes(1 << 20)); file.flush(); time.sleep(0.01)`,
  'files of one byte': 'for i in range(200000): open(f"f{i}", "w").write("x"); time.sleep(0.0001)',
  'empty directories, symlinks and links': `
open("one", "w")
for i in range(200000): os.mkdir(f"d{i}"); os.symlink("x", f"s{i}"); os.link("one", f"d{i}/l"); time.sleep(0.0002)`,
  'a file that it has deleted': `
with open("gone", "wb") as file:
  os.unlink("gone")
  for _ in range(300): file.write(bytes(1 << 20)); file.flush(); time.sleep(0.01)`,
  'a deleted file of a thread that outlives the first one': `${deletedByThread}
threading.Thread(target=hog).start()
libc.syscall(60, 0)`,
  'a deleted file that only a thread with descriptors of its own has open': `${deletedByThread}
threading.Thread(target=lambda: hog() if libc.unshare(0x400) == 0 else None).start()`,
  'a deleted file that a thread outlives the first one with, mapped and closed': `${deletedByThread}
with open("gone", "wb+") as file:
  file.truncate(300 << 20)
  mapped = mmap.mmap(file.fileno(), 300 << 20)
os.unlink("gone")
def fill():
  for i in range(300): mapped[i << 20:(i + 1) << 20] = bytes(1 << 20); time.sleep(0.01)
threading.Thread(target=fill).start()
libc.syscall(60, 0)`,
};

function start(text: string): ChildProcess {
  return spawn('python3', ['-c', `import os, time\nos.chdir(${JSON.stringify(root)})\n${text}`], {
    stdio: 'ignore',
  });
}

async function watch(
  job: ChildProcess,
  measure: Pick<Measurer, 'measure'>,
  most: { bytes: number; files: number },
) {
  const since = await fileTimeNow(join(root, 'now'));
  let exceeded = false;
  const watching = watchWrites({
    ...{ roots: [root], since, before: nothingWritten, most, measurer: measure },
    processes: () => (job.pid === undefined || job.exitCode !== null ? [] : [job.pid]),
    onExceeded: () => {
      exceeded = true;
      job.kill('SIGKILL');
    },
  });
  await once(job, 'exit');
  const written = await watching.finish();
  return { signal: job.signalCode, written, exceeded };
}

describe('watching what is written', () => {
  it.each(Object.entries(attacks))('ends a job that writes more than it may: %s', async (_, text) => {
    const { signal } = await watch(start(text), measurer, { bytes: 8 * mebibyte, files: 2000 });
    expect(signal).toBe('SIGKILL');
  });

  it('lets a job be that writes less', async () => {
    const text = 'for i in range(1000): open(f"f{i}", "w").write("x")';
    const { exceeded, written } = await watch(start(text), measurer, { bytes: 1024 * mebibyte, files: 2000 });
    expect(exceeded).toBe(false);
    expect(written).toMatchObject({ files: 1000, complete: true });
  });
});

// What earlier jobs have left may be more than can be looked through.
describe('a tree that cannot be looked through', () => {
  const blind = { measure: async (): Promise<Written> => ({ ...nothingWritten, complete: false }) };

  it('does not hide what the job writes: the file system knows', async () => {
    const { signal } = await watch(
      start(attacks['one file, after thousands that make the tree long to walk']),
      blind,
      {
        bytes: 8 * mebibyte,
        files: 1e6,
      },
    );
    expect(signal).toBe('SIGKILL');
  });

  it('ends no job that writes nothing', async () => {
    const { exceeded, written } = await watch(start('time.sleep(0.5)'), blind, {
      bytes: 1024 * mebibyte,
      files: 1e6,
    });
    expect([exceeded, written.complete]).toEqual([false, false]);
  });
});

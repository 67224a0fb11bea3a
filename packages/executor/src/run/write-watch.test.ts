import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Measurer } from '../evidence/measurer.ts';
import { fileTimeNow, nothingWritten, type Written } from '../evidence/written.ts';
import { watchWrites } from './write-watch.ts';

const mebibyte = 1 << 20;

// 60 is exit(2) of the one thread that calls it, 0x400 is CLONE_FILES.
const deletedByThread = `
import ctypes, mmap, threading
libc = ctypes.CDLL(None)
def hog():
  with open("gone", "wb") as file:
    os.unlink("gone")
    for _ in range(3000): file.write(bytes(1 << 16)); file.flush(); time.sleep(0.003)`;

/** What a job writes, a little at a time, up to far more than it may; then it ends by itself. */
const attacks = {
  'one file, after thousands that make the tree long to walk': `
for i in range(1500): open(f"e{i}", "w").close()
with open("large", "wb") as file:
  for _ in range(3000): file.write(bytes(1 << 16)); file.flush(); time.sleep(0.003)`,
  'files of one byte': 'for i in range(200000): open(f"f{i}", "w").write("x"); time.sleep(0.001)',
  'empty directories, symlinks and links': `
open("one", "w")
for i in range(200000): os.mkdir(f"d{i}"); os.symlink("x", f"s{i}"); os.link("one", f"d{i}/l"); time.sleep(0.002)`,
  'a file that it has deleted': `
with open("gone", "wb") as file:
  os.unlink("gone")
  for _ in range(3000): file.write(bytes(1 << 16)); file.flush(); time.sleep(0.003)`,
  'deleted symlinks that it holds handles on': `
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = []
for i in range(4000): os.symlink("x", "s"); held.append(os.open("s", os.O_PATH | os.O_NOFOLLOW)); os.unlink("s"); time.sleep(0.001)
time.sleep(3)`,
  'deleted files whose descriptors wait in a socket': `
import socket
ours, theirs = socket.socketpair()
for i in range(100):
  with open("gone", "wb") as file:
    os.unlink("gone")
    file.write(bytes(1 << 20)); file.flush(); socket.send_fds(ours, [b"x"], [file.fileno()])
  time.sleep(0.05)
time.sleep(3)`,
  'deleted files whose descriptors wait in a socket that was not accepted': `
import socket
server = socket.socket(socket.AF_UNIX); server.bind("\\0" + str(os.getpid())); server.listen()
for i in range(100):
  with open("gone", "wb") as file, socket.socket(socket.AF_UNIX) as client:
    os.unlink("gone")
    file.write(bytes(1 << 20)); file.flush(); client.connect(server.getsockname()); socket.send_fds(client, [b"x"], [file.fileno()])
  time.sleep(0.05)
time.sleep(3)`,
  'a deleted file of a thread that outlives the first one': `${deletedByThread}
threading.Thread(target=hog).start()
libc.syscall(60, 0)`,
  'a deleted file that only a thread with descriptors of its own has open': `${deletedByThread}
threading.Thread(target=lambda: hog() if libc.unshare(0x400) == 0 else None).start()`,
  'a deleted file that a thread outlives the first one with, mapped and closed': `${deletedByThread}
with open("gone", "wb+") as file:
  file.truncate(48 << 20)
  mapped = mmap.mmap(file.fileno(), 48 << 20)
os.unlink("gone")
def fill():
  for i in range(768): mapped[i << 16:(i + 1) << 16] = bytes(1 << 16); time.sleep(0.01)
threading.Thread(target=fill).start()
libc.syscall(60, 0)`,
};

function start(root: string, text: string): ChildProcess {
  return spawn('python3', ['-c', `import os, time\nos.chdir(${JSON.stringify(root)})\n${text}`], {
    stdio: 'ignore',
  });
}

type Most = { readonly bytes: number; readonly files: number };

// Where others free little meanwhile, which would make the file system's word late: every look is waited for then.
const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** Has a job write into a tree of its own while it is watched, and says how that ended. */
async function watch(text: string, most: Most, measurer: Pick<Measurer, 'measure'>) {
  const root = mkdtempSync(join(base, 'csc-watch-'));
  try {
    return await watchIn(root, text, most, measurer);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function watchIn(root: string, text: string, most: Most, measurer: Pick<Measurer, 'measure'>) {
  const job = start(root, text);
  const since = await fileTimeNow(join(root, 'now'));
  let exceeded = false;
  const watching = watchWrites({
    roots: [root],
    since,
    before: nothingWritten,
    most,
    measurer,
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

/** The same with a measurer of its own: each answers one at a time. */
async function watchMeasured(text: string, most: Most) {
  const measurer = new Measurer();
  try {
    return await watch(text, most, measurer);
  } finally {
    measurer.close();
  }
}

describe('watching what is written', () => {
  // Side by side: mostly they wait for the next look.
  it.concurrent.each(Object.entries(attacks))(
    'ends a job that writes more than it may: %s',
    async (_, text) => {
      const { signal } = await watchMeasured(text, { bytes: 2 * mebibyte, files: 2000 });
      expect(signal).toBe('SIGKILL');
    },
  );

  it('lets a job be that writes less', async () => {
    const text = 'for i in range(1000): open(f"f{i}", "w").write("x")';
    const { exceeded, written } = await watchMeasured(text, { bytes: 1024 * mebibyte, files: 2000 });
    expect(exceeded).toBe(false);
    expect(written).toMatchObject({ files: 1000, complete: true });
  });
});

// What earlier jobs have left may be more than can be looked through.
describe('a tree that cannot be looked through', () => {
  const blind = { measure: async (): Promise<Written> => ({ ...nothingWritten, complete: false }) };

  it('does not hide what the job writes: the file system knows', async () => {
    const text = attacks['one file, after thousands that make the tree long to walk'];
    const { signal } = await watch(text, { bytes: 2 * mebibyte, files: 1e6 }, blind);
    expect(signal).toBe('SIGKILL');
  });

  it('ends no job that writes nothing', async () => {
    const { exceeded, written } = await watch(
      'time.sleep(0.5)',
      { bytes: 1024 * mebibyte, files: 1e6 },
      blind,
    );
    expect([exceeded, written.complete]).toEqual([false, false]);
  });
});

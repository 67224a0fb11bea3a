import { opendir, stat } from 'node:fs/promises';
import { readBoundedFile } from '@csc-fleet/common/files';
import { encodePath } from '@csc-fleet/sandbox/host';
import { addWritten, nothingWritten, type Written } from '../evidence/written.ts';

// Of all processes together, for each millisecond that a look may take: a job may have millions open.
const entriesEachMs = 10;

/**
 * Files without a name that processes keep open, or mapped, on the file systems of these roots: they take room until
 * their last holder is gone, and no walk over names finds them. So do symlinks, FIFOs and directories without one. What
 * this user may not look at counts as nothing. It is not complete where more are open than are looked at in `ms`
 * milliseconds, about, or where descriptors wait in a socket: nobody but who receives them knows of what.
 */
export async function measureDeleted(
  pids: readonly number[],
  roots: readonly string[],
  ms: number,
): Promise<Written> {
  const devices = new Set(await Promise.all(roots.map(deviceOf)));
  const seen = new Set<string>();
  let written = nothingWritten;
  let left = ms * entriesEachMs;
  for await (const file of openFilesOf(pids)) {
    left -= 1;
    if (left < 0) return { ...written, complete: false };
    // The links there lead to the open files themselves (proc_pid_fd(5)); stat(2) opens nothing.
    const stats = await stat(file, { bigint: true }).catch(() => undefined);
    if (stats?.isSocket() && holdsDescriptors(file)) written = { ...written, complete: false };
    if (stats === undefined || stats.nlink > 0n || !devices.has(stats.dev)) continue;
    const id = `${stats.dev}:${stats.ino}`;
    const bytes = Number(stats.blocks) * 512;
    const files = stats.isFile() ? 1 : 0;
    if (!seen.has(id)) written = addWritten(written, { files, inodes: 1, bytes, complete: true });
    seen.add(id);
  }
  return written;
}

// proc_pid_fdinfo(5), of Unix sockets since Linux 5.8: how many descriptors were sent to it and not received yet, or to
// those that it has not accepted yet.
function holdsDescriptors(socket: string): boolean {
  try {
    const info = readBoundedFile(socket.replace(/fd(?=\/\d+$)/, 'fdinfo'), { maxBytes: 4096 });
    return /^scm_fds:\s+[1-9]/m.test(info.bytes.toString('latin1'));
  } catch {
    // It is closed by now.
    return false;
  }
}

/**
 * By thread, not by process: a thread can have descriptors of its own (unshare(2), CLONE_FILES), and one whose first
 * thread has ended shows nothing at /proc/PID/fd, while the others go on. All tables of the first threads come first, as
 * those of the others are mostly the same, which /proc does not tell.
 */
async function* openFilesOf(pids: readonly number[]): AsyncGenerator<string> {
  for (const pid of pids) {
    yield* pathsIn(`/proc/${pid}/fd`);
    yield* pathsIn(`/proc/${pid}/map_files`);
  }
  for (const pid of pids) {
    let mapped = await isMapped(pid);
    for await (const thread of namesIn(`/proc/${pid}/task`)) {
      if (thread === String(pid)) continue;
      yield* pathsIn(`/proc/${pid}/task/${thread}/fd`);
      // Threads have one memory, whose map is by a thread's own number only where the first has ended (proc(5)).
      if (mapped) continue;
      for await (const file of pathsIn(`/proc/${thread}/map_files`)) {
        mapped = true;
        yield file;
      }
    }
  }
}

async function isMapped(pid: number): Promise<boolean> {
  for await (const _ of namesIn(`/proc/${pid}/map_files`)) return true;
  return false;
}

async function* pathsIn(directory: string): AsyncGenerator<string> {
  for await (const name of namesIn(directory)) yield `${directory}/${name}`;
}

async function* namesIn(directory: string): AsyncGenerator<string> {
  try {
    for await (const { name } of await opendir(directory)) yield name;
  } catch {
    // The process is gone, or not this user's to look at.
  }
}

async function deviceOf(root: string): Promise<bigint | undefined> {
  return await stat(encodePath(root), { bigint: true }).then(
    ({ dev }) => dev,
    () => undefined,
  );
}

import { opendir, stat } from 'node:fs/promises';
import { addWritten, nothingWritten, type Written } from './written.ts';

// Of all processes together, at one look: a job may have millions open.
const mostEntries = 4096;

/**
 * Files without a name that processes keep open, or mapped, on the file systems of these roots: they take room until
 * their last holder is gone, and no walk over names finds them. What this user may not look at counts as nothing; where
 * more are open than are looked at, it is not complete.
 */
export async function measureDeleted(pids: readonly number[], roots: readonly string[]): Promise<Written> {
  const devices = new Set(await Promise.all(roots.map(deviceOf)));
  const seen = new Set<string>();
  let written = nothingWritten;
  let left = mostEntries;
  for (const directory of pids.flatMap((pid) => [`/proc/${pid}/fd`, `/proc/${pid}/map_files`])) {
    for await (const name of namesIn(directory)) {
      left -= 1;
      if (left < 0) return { ...written, complete: false };
      // The links there lead to the open files themselves (proc_pid_fd(5)); stat(2) opens nothing.
      const stats = await stat(`${directory}/${name}`, { bigint: true }).catch(() => undefined);
      if (stats === undefined || stats.nlink > 0n || !stats.isFile() || !devices.has(stats.dev)) continue;
      const id = `${stats.dev}:${stats.ino}`;
      const bytes = Number(stats.blocks) * 512;
      if (!seen.has(id)) written = addWritten(written, { files: 1, inodes: 1, bytes, complete: true });
      seen.add(id);
    }
  }
  return written;
}

async function* namesIn(directory: string): AsyncGenerator<string> {
  try {
    for await (const { name } of await opendir(directory)) yield name;
  } catch {
    // The process is gone, or not this user's to look at.
  }
}

async function deviceOf(root: string): Promise<bigint | undefined> {
  return await stat(root, { bigint: true }).then(
    ({ dev }) => dev,
    () => undefined,
  );
}

import { readdir, stat } from 'node:fs/promises';
import { addWritten, measureFile, nothingWritten, type Written } from './files-written.ts';

/**
 * Files without a name that processes keep open, or mapped, on the file systems of these roots: they take room until
 * their last holder is gone, and no walk over names finds them. What this user may not look at counts as nothing.
 */
export async function measureDeleted(pids: readonly number[], roots: readonly string[]): Promise<Written> {
  const devices = new Set(await Promise.all(roots.map(deviceOf)));
  const seen = new Set<string>();
  let written = nothingWritten;
  for (const directory of pids.flatMap((pid) => [`/proc/${pid}/fd`, `/proc/${pid}/map_files`])) {
    for (const name of await readdir(directory).catch(() => [])) {
      // The links there lead to the open files themselves (proc_pid_fd(5)); stat(2) opens nothing.
      const stats = await stat(`${directory}/${name}`, { bigint: true }).catch(() => undefined);
      if (stats === undefined || stats.nlink > 0n || !stats.isFile() || !devices.has(stats.dev)) continue;
      const id = `${stats.dev}:${stats.ino}`;
      if (!seen.has(id)) written = addWritten(written, measureFile(stats));
      seen.add(id);
    }
  }
  return written;
}

async function deviceOf(root: string): Promise<bigint | undefined> {
  return await stat(root, { bigint: true }).then(
    ({ dev }) => dev,
    () => undefined,
  );
}

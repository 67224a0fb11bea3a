import { lstat, open, opendir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isCoveredBy } from '@csc-fleet/common/paths';

/** A moment by the clock that files are stamped with, in nanoseconds. */
export type FileTime = bigint;

/**
 * Now, as the file system says it: its clock ticks more coarsely than the process's own and so lags behind it.
 * @param scratch a path for a file that is made and deleted
 */
export async function fileTimeNow(scratch: string): Promise<FileTime> {
  const handle = await open(scratch, 'w', 0o600);
  try {
    return (await handle.stat({ bigint: true })).ctimeNs;
  } finally {
    await handle.close();
    await rm(scratch, { force: true });
  }
}

/** Regular files below the roots that were made or changed since. Symlinks are not followed. */
export async function countFilesWritten(roots: readonly string[], since: FileTime): Promise<number> {
  let count = 0;
  for (const root of withoutNested(roots)) count += await countBelow(root, since);
  return count;
}

async function countBelow(path: string, since: FileTime): Promise<number> {
  const stats = await lstat(path, { bigint: true }).catch(() => undefined);
  if (stats?.isFile()) return stats.ctimeNs >= since ? 1 : 0;
  if (!stats?.isDirectory()) return 0;
  let count = 0;
  try {
    for await (const entry of await opendir(path)) {
      if (entry.isDirectory() || entry.isFile()) count += await countBelow(join(path, entry.name), since);
    }
  } catch {
    // A directory that has gone, or that this user may not read: what is in it cannot be counted.
  }
  return count;
}

function withoutNested(roots: readonly string[]): string[] {
  const sorted = [...new Set(roots)].sort();
  return sorted.filter((root) => !sorted.some((other) => other !== root && isCoveredBy(root, [other])));
}

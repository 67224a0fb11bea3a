import { open, rm } from 'node:fs/promises';

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

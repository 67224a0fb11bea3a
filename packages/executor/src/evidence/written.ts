import { open, rm } from 'node:fs/promises';

/** What has been written below some roots, each inode once, however many names it has. */
export interface Written {
  /** Regular files that were made or changed. */
  readonly files: number;
  /** Those, and all else that was made: directories, symlinks, FIFOs, sockets. */
  readonly inodes: number;
  /** That they take on the disk, whole: how much of an older file is new cannot be told. Holes take nothing. */
  readonly bytes: number;
  /** False: this is what was seen, and there may be more. Time ran out, or something new is closed to this user. */
  readonly complete: boolean;
}

export const nothingWritten: Written = { files: 0, inodes: 0, bytes: 0, complete: true };

export function addWritten(a: Written, b: Written): Written {
  return {
    files: a.files + b.files,
    inodes: a.inodes + b.inodes,
    bytes: a.bytes + b.bytes,
    complete: a.complete && b.complete,
  };
}

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

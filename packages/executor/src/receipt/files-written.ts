import { lstat, open, opendir, rm } from 'node:fs/promises';
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

/** What has been written below some roots. */
export interface Written {
  readonly files: number;
  /** That they take on the disk, whole: how much of an older file is new cannot be told. */
  readonly bytes: number;
  /** False: something new is where nobody can look, too deep for a path or closed to this user. */
  readonly complete: boolean;
}

export const nothingWritten: Written = { files: 0, bytes: 0, complete: true };

/** Regular files below the roots that were made or changed since. Symlinks are not followed. */
export async function measureWritten(roots: readonly string[], since: FileTime): Promise<Written> {
  let written = nothingWritten;
  for (const root of withoutNested(roots)) {
    written = addWritten(written, await measureBelow(Buffer.from(root), since));
  }
  return written;
}

// Names are bytes: a job can choose such as are no text.
async function measureBelow(path: Buffer, since: FileTime): Promise<Written> {
  const stats = await lstat(path, { bigint: true }).catch(explainMissing);
  if (stats === 'unmeasurable') return { ...nothingWritten, complete: false };
  if (stats?.isFile()) return stats.ctimeNs >= since ? measureFile(stats) : nothingWritten;
  if (!stats?.isDirectory()) return nothingWritten;
  let written = nothingWritten;
  try {
    for await (const entry of await opendir(path, { encoding: 'buffer' as never })) {
      if (!entry.isDirectory() && !entry.isFile()) continue;
      // With that encoding names are bytes, which the types do not know of.
      const name = entry.name as unknown as Buffer;
      written = addWritten(written, await measureBelow(Buffer.concat([path, slash, name]), since));
    }
  } catch {
    // What has gone meanwhile is nothing; one that this user may not read is new, or none of the job's.
    return { ...written, complete: written.complete && (stats.ctimeNs < since || !(await isThere(path))) };
  }
  return written;
}

const slash = Buffer.from('/');

// path_resolution(7): no path may be longer than 4095 bytes, but a job can go down step by step.
function explainMissing({ code }: NodeJS.ErrnoException): 'unmeasurable' | undefined {
  return code === 'ENAMETOOLONG' ? 'unmeasurable' : undefined;
}

async function isThere(path: Buffer): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

/** One file, by what it takes on the disk. stat(2): st_blocks counts 512 bytes each; holes take none. */
export function measureFile({ blocks }: { readonly blocks: bigint }): Written {
  return { files: 1, bytes: Number(blocks * 512n), complete: true };
}

export function addWritten(a: Written, b: Written): Written {
  return { files: a.files + b.files, bytes: a.bytes + b.bytes, complete: a.complete && b.complete };
}

function withoutNested(roots: readonly string[]): string[] {
  const sorted = [...new Set(roots)].sort();
  return sorted.filter((root) => !sorted.some((other) => other !== root && isCoveredBy(root, [other])));
}

import { type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import type { JobUser, JobUsers } from '../plan/index.ts';

/**
 * Whether jobs may change the entries of a directory, by its mode: this run's user, or another run's meanwhile. Where
 * an access list could say more, the answer is yes: a group bit may be such a list's mask (acl(5)).
 */
export function mayWrite(directory: Stats, { all }: JobUsers): boolean {
  return (directory.mode & 0o022) !== 0 || all.some(({ uid }) => uid === directory.uid);
}

/** The first directory above `path` that the job user certainly may not enter; undefined where there is none. */
export function findClosedParent(path: string, user: JobUser): string | undefined {
  for (let at = posix.dirname(path); at !== '/'; at = posix.dirname(at)) {
    const stats = statSync(at, { throwIfNoEntry: false });
    if (stats !== undefined && !mayPass(stats, user, 0o1)) return at;
  }
  return undefined;
}

/** Whether the job user may execute a file, or enter a directory, as far as its mode can say: no is certain. */
export function mayExecute(file: Stats, user: JobUser): boolean {
  return mayPass(file, user, 0o1);
}

function mayPass(stats: Stats, user: JobUser, bit: number): boolean {
  if (stats.uid === user.uid) return (stats.mode & (bit << 6)) !== 0;
  return (stats.mode & (bit | (bit << 3))) !== 0;
}

import { type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import { encodePath } from './byte-names.ts';
import type { JobUser, JobUsers } from './run-as.ts';

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
    const stats = statSync(encodePath(at), { throwIfNoEntry: false });
    if (stats !== undefined && !mayPass(stats, user, 0o1)) return at;
  }
  return undefined;
}

/** Whether the job user may execute a file, or enter a directory, as far as its mode can say: no is certain. */
export function mayExecute(file: Stats, user: JobUser): boolean {
  return mayPass(file, user, 0o1);
}

/** Whether the job user may make something in a directory, as far as its mode can say: no is certain. */
export function mayMake(directory: Stats, user: JobUser): boolean {
  return mayPass(directory, user, 0o3);
}

/** Whether the job user may write into a file, or make files in a directory, as far as its mode can say: no is certain. */
export function mayFill(scope: Stats, user: JobUser): boolean {
  return scope.isDirectory() ? mayMake(scope, user) : mayPass(scope, user, 0o2);
}

/** Whether the job user may read a file, or look into a directory, as far as its mode can say: no is certain. */
export function mayRead(scope: Stats, user: JobUser): boolean {
  return mayPass(scope, user, scope.isDirectory() ? 0o5 : 0o4);
}

/**
 * Whether the job user may enter a directory, or read (and list) what it is asked of, as far as its mode can say: yes is certain,
 * but for an access list. Its one group is known, and whether it has others is not.
 */
export function maySurely(to: 'enter' | 'read', { uid, gid, mode }: Stats, user: JobUser): boolean {
  const bits = to === 'enter' ? 0o1 : 0o4;
  if (uid === user.uid) return has(mode >> 6, bits);
  return has(mode >> 3, bits) && (gid === user.gid || has(mode, bits));
}

function mayPass(stats: Stats, user: JobUser, bits: number): boolean {
  if (stats.uid === user.uid) return has(stats.mode >> 6, bits);
  return has(stats.mode, bits) || has(stats.mode >> 3, bits);
}

function has(mode: number, bits: number): boolean {
  return (mode & bits) === bits;
}

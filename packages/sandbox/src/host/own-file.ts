import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { makeDirectory, replaceFile, sweepPartial } from '@csc-fleet/common/files';

/**
 * What `keepOwnFile` has written: from a file and a directory that are this process's own user's and that nobody else may
 * change. Throws where there is none such, or it is longer than `maxBytes`.
 * @param directory absolute
 */
export function readOwnFile(directory: string, name: string, maxBytes: number): Buffer {
  if (!isOwn(lstatSync(directory))) throw new Error('others may change it');
  const fd = openSync(
    join(directory, name),
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  );
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile() || !isOwn(stats) || stats.size > maxBytes) throw new Error('it is none of ours');
    const bytes = Buffer.allocUnsafeSlow(stats.size);
    let length = 0;
    for (let read = 1; read > 0 && length < bytes.length; length += read)
      read = readSync(fd, bytes, length, bytes.length - length, length);
    return bytes.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

/** Keeps it for `readOwnFile`, whole or not at all, where that would take it. Never throws. */
export function keepOwnFile(directory: string, name: string, data: string | Uint8Array): void {
  try {
    makeDirectory(directory, { mode: 0o700 });
    if (!isOwn(lstatSync(directory))) return;
    // Of those that were killed meanwhile.
    sweepPartial(directory);
    replaceFile(join(directory, name), data, 0o600);
  } catch {
    // It is found out anew.
  }
}

// Not root's, who keeps nothing for others.
function isOwn(stats: Stats): boolean {
  return isOnlyOf(stats, [process.getuid?.()]);
}

/** Whether a file is one of these users', and nobody else may change it by its mode. */
export function isOnlyOf({ uid, mode }: Stats, users: readonly (number | undefined)[]): boolean {
  return users.includes(uid) && (mode & 0o022) === 0;
}

/**
 * What makes the file at a path another one: all that changes when it is written or replaced, as nobody can set ctime
 * (inode(7)). Follows links. Throws what stat(2) does.
 */
export function toFileKey(path: string): string {
  const { dev, ino, size, mode, uid, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  return [path, dev, ino, size, mode, uid, mtimeNs, ctimeNs].join(' ');
}

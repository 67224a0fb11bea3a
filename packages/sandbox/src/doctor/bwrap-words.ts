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
import { arch, release } from 'node:os';
import { join } from 'node:path';
import { makeDirectory, replaceFile } from '@csc-fleet/common/files';

/** What a bwrap says of itself, which is the same as long as it is the same file. */
export interface BwrapWords {
  readonly version: string;
  readonly help: string;
}

const maxBytes = 64 * 1024;

/**
 * What this bwrap said when it was asked last; undefined where it has not been asked since it, or the kernel, is another.
 * Taken from nobody but this process's own user: from a file and a directory that are its own and that nobody else may
 * change. Never throws.
 * @param directory absolute
 */
export function recallBwrap(directory: string, path: string): BwrapWords | undefined {
  try {
    const kept: unknown = JSON.parse(readOwn(directory));
    if (!isKept(kept) || kept.of !== toKey(path)) return undefined;
    return { version: kept.version, help: kept.help };
  } catch {
    return undefined;
  }
}

/**
 * Keeps it for `recallBwrap`, where that would take it. Never throws.
 * @param key of `toKey`, from before it was asked: what has changed meanwhile is asked again
 */
export function keepBwrap(directory: string, key: string, { version, help }: BwrapWords): void {
  try {
    makeDirectory(directory, { mode: 0o700 });
    if (!isOwn(lstatSync(directory))) return;
    replaceFile(join(directory, fileName), JSON.stringify({ of: key, version, help }), 0o600);
  } catch {}
}

/**
 * What makes a bwrap another one: its file, by all that changes when it is written or replaced (ctime cannot be set), and
 * the kernel that runs it. Throws what stat(2) does.
 */
export function toKey(path: string): string {
  const { dev, ino, size, mode, uid, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  return [path, dev, ino, size, mode, uid, mtimeNs, ctimeNs, release(), arch()].join(' ');
}

const fileName = 'bwrap.json';

function readOwn(directory: string): string {
  if (!isOwn(lstatSync(directory))) throw new Error('others may change it');
  const fd = openSync(
    join(directory, fileName),
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  );
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile() || !isOwn(stats) || stats.size > maxBytes) throw new Error('it is none of ours');
    const bytes = Buffer.alloc(maxBytes);
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, maxBytes, 0));
  } finally {
    closeSync(fd);
  }
}

function isOwn({ uid, mode }: Stats): boolean {
  return uid === process.getuid?.() && (mode & 0o022) === 0;
}

function isKept(value: unknown): value is { of: string } & BwrapWords {
  if (typeof value !== 'object' || value === null) return false;
  const members = new Map(Object.entries(value));
  return ['of', 'version', 'help'].every((name) => typeof members.get(name) === 'string');
}

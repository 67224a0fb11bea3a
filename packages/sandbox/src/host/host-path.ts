import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { decodePath, encodePath, showPath } from './byte-names.ts';

/** open(2): a handle on the file that neither reads nor writes it. Not in node:fs; the same on x86_64 and aarch64. */
const O_PATH = 0o10000000;

/** A file or directory of the host, held by an O_PATH descriptor: what happens to its name later changes nothing. */
export interface OpenPath {
  readonly fd: number;
  /** Where it was when it was opened. */
  readonly source: string;
  readonly stats: Stats;
}

/**
 * Opens a path that was resolved a moment ago and makes sure that it is still the same: throws SCOPE_NOT_FOUND where
 * a symlink took the place of one of its parts meanwhile. `at` opens it by another name (below a descriptor).
 */
export function openResolved(source: string, at: string = source): OpenPath {
  let fd: number;
  try {
    fd = openSync(encodePath(at), O_PATH | constants.O_NOFOLLOW);
  } catch (cause) {
    throw new CscError('SCOPE_NOT_FOUND', `${showPath(source)} cannot be opened`, { cause });
  }
  try {
    if (readLink(descriptorPath(fd)) !== source) {
      throw new CscError('SCOPE_NOT_FOUND', `${showPath(source)} changed while it was being opened`);
    }
    return { fd, source, stats: fstatSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** A name of an open descriptor that other calls take: it leads to the file itself, wherever its path leads now. */
export function descriptorPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/** One symlink met on the way: where it is (itself free of symlinks) and the text it holds. */
export interface WalkedLink {
  readonly path: string;
  readonly target: string;
}

export interface Walk {
  /** The path, free of symlinks. */
  readonly path: string;
  readonly links: readonly WalkedLink[];
}

/** What is at a path that is free of symlinks up to its last part; undefined where there is nothing. */
export type Look = (path: string) => Looked | undefined;

/** What a symlink holds, and whether it is a directory; neither of what is anything else. */
export interface Looked {
  readonly target?: string;
  readonly isDirectory?: true;
}

// The kernel's own limit (path_resolution(7)).
const maxLinks = 40;

/**
 * The most names of a path, those of the symlinks on the way included. The kernel begins each look at the root, so that a
 * walk takes the square of it: of the two thousand that a path can have, a quarter of a second.
 */
export const maxNames = 256;

/**
 * Follows an absolute path part by part, as the kernel would, and records the symlinks on the way.
 * Undefined where a part does not exist, the symlinks form a loop, or it is of more than `maxNames` names.
 */
export function walkPath(path: string, look: Look = lookOnHost): Walk | undefined {
  const links: WalkedLink[] = [];
  let pending = path.split('/');
  let at = '/';
  let left = maxNames;
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      at = posix.dirname(at);
      continue;
    }
    if (left === 0) return undefined;
    left -= 1;
    const next = at === '/' ? `/${name}` : `${at}/${name}`;
    const found = look(next);
    if (found === undefined) return undefined;
    if (found.target === undefined) {
      at = next;
      continue;
    }
    links.push({ path: next, target: found.target });
    if (links.length > maxLinks) return undefined;
    if (found.target.startsWith('/')) at = '/';
    pending = [...found.target.split('/'), ...pending];
  }
  return { path: at, links };
}

/** `look` on the host's own file system. What cannot be looked at counts as absent. */
export function lookOnHost(path: string): Looked | undefined {
  try {
    const stats = lstatSync(encodePath(path), { throwIfNoEntry: false });
    if (stats === undefined) return undefined;
    if (stats.isSymbolicLink()) return { target: readLink(path) };
    return stats.isDirectory() ? { isDirectory: true } : {};
  } catch {
    return undefined;
  }
}

/** What a symlink holds. Throws what readlink(2) does. */
export function readLink(path: string): string {
  return decodePath(readlinkSync(encodePath(path), 'buffer'));
}

/** True where `path` is `root` or below it. Both absolute and normalised. */
export function isWithin(path: string, root: string): boolean {
  return path === root || path.startsWith(root === '/' ? '/' : `${root}/`);
}

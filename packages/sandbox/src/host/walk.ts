import { lstatSync, readlinkSync } from 'node:fs';
import { posix } from 'node:path';

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
export type Look = (path: string) => { readonly target?: string } | undefined;

// The kernel's own limit (path_resolution(7)).
const maxLinks = 40;

/**
 * Follows an absolute path part by part, as the kernel would, and records the symlinks on the way.
 * Undefined where a part does not exist or the symlinks form a loop.
 */
export function walkPath(path: string, look: Look = lookOnHost): Walk | undefined {
  const links: WalkedLink[] = [];
  let pending = path.split('/');
  let at = '/';
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      at = posix.dirname(at);
      continue;
    }
    const next = posix.join(at, name);
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
export function lookOnHost(path: string): { readonly target?: string } | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return undefined;
    return stats.isSymbolicLink() ? { target: readlinkSync(path) } : {};
  } catch {
    return undefined;
  }
}

/** True where `path` is `root` or below it. Both absolute and normalised. */
export function isWithin(path: string, root: string): boolean {
  return path === root || path.startsWith(root === '/' ? '/' : `${root}/`);
}

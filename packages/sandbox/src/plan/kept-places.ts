import { readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { decodePath, encodePath, type Look, lookOnHost, walkPath } from '../host/index.ts';
import type { KeptPlace } from './facts.ts';
import { numberedBeside } from './put-aside.ts';

/** How one comes to a place that csc believes. */
export interface WayToKept extends Omit<KeptPlace, 'path'> {
  /** Free of symlinks. */
  readonly place: string;
  /** The symlinks on the way: whoever may write above one can lead it elsewhere. */
  readonly links: readonly string[];
}

/**
 * Where these are now, or would be once all that is missing on the way is made: a job could make it. Of a directory, where the
 * symlinks in it lead as well: to a checkout of the owners' policies, to a larger disk, or to a file that people keep elsewhere.
 * Most lie in the same few directories, each of which is looked at once.
 */
export function findWaysToKept(kept: readonly KeptPlace[]): WayToKept[] {
  const known = new Map<string, NonNullable<ReturnType<Look>>>();
  const look: Look = (at) => {
    const found = known.get(at) ?? lookOnHost(at) ?? {};
    known.set(at, found);
    return found;
  };
  const findWay = ({ path, ...rest }: KeptPlace): WayToKept => {
    const walk = walkPath(path, look);
    return { ...rest, place: walk?.path ?? path, links: walk?.links.map((link) => link.path) ?? [] };
  };
  return kept
    .flatMap((it) => readingsOf(it.path).map((path) => ({ ...it, path })))
    .flatMap((it) => {
      const own = findWay(it);
      const inner = look(own.place)?.isDirectory === true ? linksIn(own.place) : [];
      const earlier = it.isSecret ? numberedBeside(own.place, own.links, () => namesBeside(own.place)) : [];
      return [own, ...[...inner, ...earlier].map((path) => findWay({ ...it, path }))];
    });
}

// `..` behind a symlink is the directory above where that leads to the kernel, and the one above the symlink to node:path: what
// csc opens there goes by the one or the other.
function readingsOf(path: string): string[] {
  const folded = posix.resolve(path);
  return path.split('/').includes('..')
    ? [folded, posix.isAbsolute(path) ? path : `${process.cwd()}/${path}`]
    : [folded];
}

function namesBeside(place: string): string[] {
  try {
    return readdirSync(encodePath(posix.dirname(place)), 'buffer').map(decodePath);
  } catch {
    return [];
  }
}

// None of what is closed to who runs jobs: nobody who would believe it reads it.
function linksIn(place: string): string[] {
  try {
    return readdirSync(encodePath(place), { encoding: 'buffer', withFileTypes: true })
      .filter((entry) => entry.isSymbolicLink())
      .map((entry) => posix.join(place, decodePath(entry.name)));
  } catch {
    return [];
  }
}

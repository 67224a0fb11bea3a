import { statSync } from 'node:fs';
import { posix } from 'node:path';
import { encodePath, findClosedParent, isWithin, type JobUser, showPath } from '../host/index.ts';
import type { WayToKept } from './kept-places.ts';

/** What a command may not read of the trees that it is shown. Paths are free of symlinks. */
export interface HiddenPlaces {
  /** Directories that are shown empty. */
  readonly empty: ReadonlySet<string>;
  /** Directories of which only what they hold now is shown. */
  readonly frozen: ReadonlySet<string>;
  /** What of these is not shown. */
  readonly leftOut: ReadonlySet<string>;
  /** For people. */
  readonly notes: readonly string[];
}

/**
 * Where secret places lie in `trees`. A directory is shown empty: nothing that is put into it is seen. That would not
 * do for a file, as keys are renewed by rename(2), which takes a mount over the old one away with it, nor for what is not
 * there yet: so the directory that it is or will be in is frozen, and those of the symlinks on the way to a file, by which a
 * renewal leads to the next one. What the job user may not enter anyhow stays closed, as a frozen directory would open it.
 */
export function findHidden(
  ways: readonly WayToKept[],
  trees: readonly string[],
  jobUser: JobUser,
): HiddenPlaces {
  const empty = new Set<string>();
  const frozen = new Set<string>();
  const leftOut = new Set<string>();
  const notes = new Map<string, string>();
  const isShown = (path: string): boolean => trees.some((tree) => isWithin(path, tree));
  for (const { place, links, name } of ways) {
    if (![place, ...links].some(isShown)) continue;
    const { directory, holders, gone } = findHolders(place, links);
    if (directory) empty.add(place);
    else leftOut.add(gone);
    for (const holder of holders.filter(isShown)) {
      const closed = findClosedParent(posix.join(holder, 'anything'), jobUser);
      if (closed === undefined) frozen.add(holder);
      else empty.add(closed);
    }
    if (isShown(place) && !notes.has(place))
      notes.set(place, `${describe(place, holders)}: it is ${name}, which csc keeps to itself`);
  }
  return { empty, frozen, leftOut, notes: [...notes.values()] };
}

/** The outermost directories in `tree`, itself included, that are not shown as they are. */
export function hiddenIn({ empty, frozen }: HiddenPlaces, tree: string): string[] {
  const outermost: string[] = [];
  for (const path of [...empty, ...frozen].filter((it) => isWithin(it, tree)).sort())
    if (!outermost.some((outer) => isWithin(path, outer))) outermost.push(path);
  return outermost;
}

interface Holders {
  /** Whether the place is a directory, which needs no holder. */
  readonly directory: boolean;
  /** Where it, or another in its place, may be found. */
  readonly holders: readonly string[];
  /** What of them is to be left out: the place, or what would be made on the way to it. */
  readonly gone: string;
}

function findHolders(place: string, links: readonly string[]): Holders {
  const kind = kindOf(place);
  if (kind === 'directory') return { directory: true, holders: [], gone: place };
  const parent = posix.dirname(place);
  if (kind === 'file') {
    const holders = [parent, ...links.map((link) => posix.dirname(link))];
    return { directory: false, holders, gone: place };
  }
  return kindOf(parent) === 'directory'
    ? { directory: false, holders: [parent], gone: place }
    : findHolders(parent, links);
}

// What cannot be looked at counts as absent.
function kindOf(path: string): 'directory' | 'file' | 'missing' {
  try {
    const stats = statSync(encodePath(path), { throwIfNoEntry: false });
    if (stats === undefined) return 'missing';
    return stats.isDirectory() ? 'directory' : 'file';
  } catch {
    return 'missing';
  }
}

function describe(place: string, [holder]: readonly string[]): string {
  return holder === undefined
    ? `${showPath(place)} is shown empty`
    : `${showPath(holder)} is shown as it is now, without ${showPath(place)}`;
}

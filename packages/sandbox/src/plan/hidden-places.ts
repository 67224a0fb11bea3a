import { accessSync, constants, statSync } from 'node:fs';
import { posix } from 'node:path';
import { encodePath, isWithin, maySurely, showPath } from '../host/index.ts';
import type { RunFacts } from './facts.ts';
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
 * do for a file, as keys are renewed by rename(2), which takes a mount over the old one away with it, nor for what is
 * not there yet: so the directory that it is or will be in is frozen, and those of the symlinks on the way to a file,
 * by which a renewal leads to the next one. What the job user may not enter is shown empty instead: a frozen directory
 * would open it, and bwrap finds nothing in there to mount.
 */
export function findHidden(
  ways: readonly WayToKept[],
  trees: readonly string[],
  facts: Pick<RunFacts, 'jobUser' | 'executorUid'>,
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
    // A symlink to it as well: it is in that one's place that the next is put.
    else for (const it of [gone, ...links.filter((link) => kindOf(link) === 'file')]) leftOut.add(it);
    for (const holder of holders.filter(isShown)) {
      const closed = findClosed(holder, isShown, facts);
      if (closed === undefined) frozen.add(holder);
      else empty.add(closed);
    }
    if (isShown(place) && !notes.has(place))
      notes.set(place, `${describe(place, holders, empty)}: it is ${name}, which csc keeps to itself`);
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

// The outermost directory on the way to what a holder has, as far as it is shown, that the job user may not enter.
function findClosed(
  holder: string,
  isShown: (path: string) => boolean,
  facts: Pick<RunFacts, 'jobUser' | 'executorUid'>,
): string | undefined {
  let closed: string | undefined;
  for (let at = holder; isShown(at); at = posix.dirname(at))
    if (!isSurelyOpen('enter', at, facts)) closed = at;
  return closed;
}

/**
 * Whether the job user may enter a directory, or list it: no where its mode does not say so for certain. What groups it
 * is in, and what access lists say, is known of this process's own user alone.
 */
export function isSurelyOpen(
  to: 'enter' | 'read',
  directory: string,
  { jobUser, executorUid }: Pick<RunFacts, 'jobUser' | 'executorUid'>,
): boolean {
  try {
    const path = encodePath(directory);
    if (executorUid !== jobUser.uid) return maySurely(to, statSync(path), jobUser);
    accessSync(path, to === 'enter' ? constants.X_OK : constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function describe(place: string, [holder]: readonly string[], empty: ReadonlySet<string>): string {
  const shown = [...empty].find((path) => isWithin(holder ?? place, path));
  return shown === undefined && holder !== undefined
    ? `${showPath(holder)} is shown as it is now, without ${showPath(place)}`
    : `${showPath(shown ?? place)} is shown empty`;
}

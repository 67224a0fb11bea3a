import { lstatSync, readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import {
  decodePath,
  descriptorPath,
  encodePath,
  isWithin,
  mayWrite,
  readLink,
  showPath,
} from '../host/index.ts';
import { maxGlobMatches } from './glob.ts';
import { type HiddenPlaces, hiddenIn, isSurelyOpen } from './hidden-places.ts';
import { nameBefore } from './put-aside.ts';
import { closeFor, noteLeftOut, type OpenScope, openFor, type Resolution } from './scopes.ts';

/** The most entries that a directory may be split into: each becomes a mount of its own. */
export const maxSplitEntries = 256;

/** The scopes of one command as they will be mounted. */
export interface Arrangement {
  readonly resolution: Resolution;
  readonly hidden: HiddenPlaces;
  readonly binds: OpenScope[];
  /** Empty but for the binds and links in them. */
  readonly directories: string[];
  /** Those of them whose names the job user may not list on the host either. */
  readonly unlisted: string[];
  /** See `ResolvedScopes`. */
  readonly fixed: Set<string>;
}

/** A write scope as it lies in a read scope, there or still to be made. */
export type Hole = Pick<OpenScope, 'source'>;

/** Mounts a read scope around the write scopes in it, without what is hidden there. */
export function mountRead(arrangement: Arrangement, read: OpenScope, inner: readonly Hole[]): void {
  const { resolution, fixed, binds, hidden, directories } = arrangement;
  if (hidden.empty.has(read.source)) {
    directories.push(read.source);
    return;
  }
  const relied = inner.map(({ source }) => findRelied(read, source, resolution, true));
  // No job may write above such a place, but for one that began before a reload had named it.
  const above = hiddenIn(hidden, read.source).map((path) => findRelied(read, path, resolution, false));
  if ([...relied, ...above].includes(undefined) || hidden.frozen.has(read.source)) {
    splitDirectory(arrangement, read, inner);
    return;
  }
  for (const directory of relied.flatMap((it) => it ?? [])) fixed.add(directory);
  binds.push(read);
  hideBelow(arrangement, read, inner);
}

/** Hides what is to be hidden in a directory that is mounted whole. */
export function hideBelow(arrangement: Arrangement, tree: OpenScope, inner: readonly Hole[]): void {
  const { resolution, hidden, directories } = arrangement;
  for (const path of hiddenIn(hidden, tree.source)) {
    const at = `${descriptorPath(tree.fd)}/.${path.slice(tree.source.length)}`;
    const frozen = hidden.empty.has(path) ? undefined : openEntry(resolution, path, at);
    if (frozen === undefined) directories.push(path);
    else splitDirectory(arrangement, frozen, within(inner, path));
  }
}

// Undefined where a running job could change a directory from the scope's own down to the one that holds `path`; else
// those of them that only a later one could. Asked of the open descriptor: what is at the scope's path may be another
// directory by now. Where nobody knows who may change it, the answer is `unlessKnown`.
function findRelied(
  read: OpenScope,
  path: string,
  { facts, missing, request: { claims } }: Resolution,
  unlessKnown: boolean,
): string[] | undefined {
  const relied: string[] = [];
  const toBeMade = new Set([...missing.values()].map(({ place }) => place));
  for (const directory of directoriesBetween(read.source, path)) {
    const rest = directory.slice(read.source.length);
    const stats =
      rest === ''
        ? read.stats
        : lstatSync(encodePath(`${descriptorPath(read.fd)}${rest}`), { throwIfNoEntry: false });
    if (stats === undefined ? !toBeMade.has(directory) : !stats.isDirectory()) return undefined;
    // What is made will be the job user's.
    if (stats !== undefined && !mayWrite(stats, facts.jobUsers)) continue;
    if (claims?.mayChange(directory) ?? unlessKnown) return undefined;
    relied.push(directory);
  }
  return relied;
}

function splitDirectory(arrangement: Arrangement, read: OpenScope, inner: readonly Hole[]): void {
  const { resolution, hidden, directories, binds } = arrangement;
  directories.push(read.source);
  if (!isSurelyOpen('read', descriptorPath(read.fd), resolution.facts))
    arrangement.unlisted.push(read.source);
  const leftOut: Record<'gone' | 'other', string[]> = { gone: [], other: [] };
  for (const name of readdirSync(descriptorPath(read.fd), 'buffer').map(decodePath)) {
    const source = posix.join(read.source, name);
    if (inner.some((write) => write.source === source)) continue;
    if (hidden.leftOut.has(source) || hidden.leftOut.has(nameBefore(source))) continue;
    const entry = openEntry(resolution, source, posix.join(descriptorPath(read.fd), name));
    if (entry === undefined) leftOut.gone.push(source);
    else if (!mountEntry(arrangement, entry, within(inner, source))) {
      leftOut.other.push(source);
      closeFor(resolution, entry);
    }
    if (binds.length > maxSplitEntries) throw tooManyEntries(arrangement, read.source, inner);
  }
  noteLeftOut(resolution, leftOut.gone, read.source, 'they changed meanwhile');
  noteLeftOut(resolution, leftOut.other, read.source, 'neither files nor directories');
}

// Another job may have removed it since the directory was read.
function openEntry(resolution: Resolution, source: string, at: string): OpenScope | undefined {
  try {
    return openFor(resolution, source, false, at);
  } catch (error) {
    if (!isCscError(error, 'SCOPE_NOT_FOUND')) throw error;
    return undefined;
  }
}

// False for what is not shown.
function mountEntry(arrangement: Arrangement, entry: OpenScope, inner: readonly Hole[]): boolean {
  const { source, stats } = entry;
  if (stats.isSymbolicLink()) {
    arrangement.resolution.links.set(source, { path: source, target: readLink(source) });
  } else if (stats.isDirectory() || inner.length > 0) mountRead(arrangement, entry, inner);
  else if (stats.isFile()) arrangement.binds.push(entry);
  else return false;
  return true;
}

/** `root` itself, and what lies between it and `path`. */
export function directoriesBetween(root: string, path: string): string[] {
  if (!isWithin(path, root) || path === root) return [];
  const parent = posix.dirname(path);
  return [...directoriesBetween(root, parent), parent];
}

function within(holes: readonly Hole[], path: string): Hole[] {
  return holes.filter(({ source }) => isWithin(source, path));
}

function tooManyEntries({ hidden }: Arrangement, source: string, [first]: readonly Hole[]): CscError {
  const most = `more than ${maxSplitEntries} entries`;
  const shown = showPath(source);
  const secret = [...hidden.leftOut].find((path) => isWithin(path, source));
  const message =
    secret !== undefined
      ? `read path ${shown} can only be shown without ${showPath(secret)}, which csc keeps to itself, and has ${most}; move that into a directory of its own, or make that directory where it is not there yet; or declare the entries that are needed, by their names or by patterns of no more than ${maxGlobMatches} matches each`
      : `read path ${shown} holds write path ${showPath(first?.source ?? '')} and ${most}, which another job can change right now; declare the entries that are needed, make ${shown} writable by root only, or wait for that job`;
  return new CscError('NOT_PERMITTED', message);
}

import { lstatSync, readdirSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import {
  decodePath,
  descriptorPath,
  encodePath,
  isWithin,
  mayFill,
  mayRead,
  mayWrite,
  readLink,
  showPath,
} from '../host/index.ts';
import { checkEnterable } from './check-scope.ts';
import { joinWrites } from './join-writes.ts';
import {
  closeFor,
  noteLeftOut,
  type OpenScope,
  openFor,
  type Resolution,
  type ResolvedScopes,
} from './scopes.ts';
import { ownDirectories, systemTrees } from './view.ts';

/** The most entries that a read scope may be split into: each becomes a mount of its own. */
export const maxSplitEntries = 256;

/** The scopes of one command as they will be mounted. */
interface Arrangement {
  readonly resolution: Resolution;
  readonly binds: OpenScope[];
  readonly directories: string[];
  /** See `ResolvedScopes`. */
  readonly fixed: Set<string>;
}

/**
 * Puts scopes into mounting order. What a wider scope shows already is dropped. Nothing is mounted below what a job can
 * write meanwhile: a symlink planted there would lead the mount astray (CVE-2026-87766). Write scopes share a mount where
 * that opens nothing else. What earlier jobs have left in a
 * read scope lies still, and was looked at. Where a write scope lies in a read scope that a running job can write, the
 * read scope is split into its entries, which are mounted beside the write scope.
 */
export function arrangeScopes(
  resolution: Resolution,
  scopes: readonly OpenScope[],
  cwd: string,
): Omit<ResolvedScopes, 'missing' | 'close'> {
  const arrangement: Arrangement = { resolution, binds: [], directories: [], fixed: new Set() };
  const writes = outermost(scopes.filter((scope) => scope.writable));
  const reads = outermost(scopes.filter((scope) => !scope.writable && !isShown(scope.source, writes)));
  const joined = joinWrites(resolution, writes, reads);
  const roots = joined.map(({ root }) => root);
  const own = writes.filter(({ source }) => !isShown(source, roots));
  const writable = [...own, ...roots];
  // What is still to be made stands in the way of the same things, so that a refusal comes before anything is made.
  const holes: Hole[] = [
    ...writable,
    ...[...resolution.missing.values()].map(({ place: source }) => ({ source })),
  ];
  checkSystemTrees(resolution, holes);
  const trees = systemTrees(resolution.facts);
  for (const read of reads) {
    if (isShown(read.source, roots)) continue;
    if (trees.some((tree) => isWithin(read.source, tree))) continue;
    mountRead(
      arrangement,
      read,
      holes.filter((hole) => isWithin(hole.source, read.source)),
    );
  }
  arrangement.binds.push(...writable, ...joined.flatMap(({ beside }) => beside));
  if (isVisible(cwd, arrangement.binds, trees)) checkEnterable(resolution, cwd);
  else arrangement.directories.push(cwd);
  noteWritable(
    resolution,
    scopes.filter((scope) => !scope.writable && scope.source !== cwd),
    writes,
  );
  const closed = describeClosed([...writes, ...reads], resolution.facts);
  return {
    ...finish(arrangement, cwd, trees),
    writes: writes.map(({ source }) => source),
    closed,
    // One reason that is certain leaves no room for guesses at others.
    hints:
      closed.length > 0
        ? closed.map((it) => `${it}: where that is why it failed, chown or chmod it on the host`)
        : [...describeSingles(writes), ...describeSeparate(own)],
  };
}

/** A write scope as it lies in a read scope, there or still to be made. */
type Hole = Pick<OpenScope, 'source'>;

function finish(
  { resolution, binds, directories, fixed }: Arrangement,
  cwd: string,
  trees: readonly string[],
) {
  const ordered = binds.toSorted((a, b) => (a.source < b.source ? -1 : 1));
  const links = [...resolution.links.values()].filter(
    ({ path }) => !isVisible(path, binds, trees) && !ownDirectories.some((own) => isWithin(own, path)),
  );
  return {
    binds: ordered.map(({ fd, source, writable }) => ({ fd, source, destination: source, writable })),
    directories: directories.filter((path) => path !== '/' && !ownDirectories.includes(path)).sort(),
    links: links.filter(({ path }) => !resolution.facts.systemLinks.some((link) => link.path === path)),
    cwd,
    notes: resolution.notes,
    fixed: [...fixed],
  };
}

// The sandbox shows it or opens it for writing, and what its owner and mode say counts all the same (EACCES).
function describeClosed(scopes: readonly OpenScope[], { jobUser }: Resolution['facts']): string[] {
  const closed = scopes.filter(({ stats, writable }) => !(writable ? mayFill : mayRead)(stats, jobUser));
  return closed.slice(0, 3).map(({ source, stats, writable }) => {
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
    return `the job user (uid ${jobUser.uid}) may not ${writable ? 'write' : 'read'} ${showPath(source)}, which belongs to uid ${stats.uid} and has the mode ${mode}`;
  });
}

// rename(2), link(2): EXDEV between two mounts, though they are of one file system.
function describeSeparate(mounts: readonly OpenScope[]): string[] {
  const directories = mounts.filter(({ stats }) => stats.isDirectory()).map(({ source }) => showPath(source));
  if (directories.length < 2) return [];
  return [
    `${directories.slice(0, 2).join(' and ')} are mounts of their own, between which nothing can be renamed or hard-linked (EXDEV); where that is why it failed, declare one write path that holds both`,
  ];
}

// A file that is a mount of its own cannot be renamed over (rename(2), EBUSY), and what is beside it is read-only.
function describeSingles(writes: readonly OpenScope[]): string[] {
  const files = writes.filter(({ stats }) => stats.isFile()).map(({ source }) => showPath(source));
  if (files.length === 0) return [];
  const named = `${files.slice(0, 3).join(', ')}${files.length > 3 ? ', …' : ''}`;
  return [
    `${named}: a write path that is a single file can be written in place, and not be replaced or deleted, as sed -i, editors and "write, then rename" do; where that is why it failed, declare the directory instead`,
  ];
}

function mountRead(arrangement: Arrangement, read: OpenScope, inner: readonly Hole[]): void {
  const { resolution, fixed, binds } = arrangement;
  const relied = inner.map(({ source }) => findRelied(read, source, resolution));
  if (relied.includes(undefined)) splitRead(arrangement, read, inner);
  else {
    for (const directory of relied.flatMap((it) => it ?? [])) fixed.add(directory);
    binds.push(read);
  }
}

// Undefined where a running job could change a directory from the scope's own down to the one that holds `path`; else
// those of them that only a later one could. Asked of the open descriptor: what is at the scope's path may be another
// directory by now.
function findRelied(
  read: OpenScope,
  path: string,
  { facts, missing, request: { claims } }: Resolution,
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
    if (claims?.mayChange(directory) !== false) return undefined;
    relied.push(directory);
  }
  return relied;
}

function splitRead(arrangement: Arrangement, read: OpenScope, inner: readonly Hole[]): void {
  const { resolution, directories, binds } = arrangement;
  directories.push(read.source);
  const leftOut: Record<'gone' | 'other', string[]> = { gone: [], other: [] };
  for (const name of readdirSync(descriptorPath(read.fd), 'buffer').map(decodePath)) {
    const source = posix.join(read.source, name);
    if (inner.some((write) => write.source === source)) continue;
    const entry = openEntry(resolution, source, posix.join(descriptorPath(read.fd), name));
    const within = inner.filter((write) => isWithin(write.source, source));
    if (entry === undefined) leftOut.gone.push(source);
    else if (!mountEntry(arrangement, entry, within)) {
      leftOut.other.push(source);
      closeFor(resolution, entry);
    }
    if (binds.length > maxSplitEntries) throw tooManyEntries(read.source, inner);
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
  } else if (inner.length > 0) mountRead(arrangement, entry, inner);
  else if (stats.isDirectory() || stats.isFile()) arrangement.binds.push(entry);
  else return false;
  return true;
}

// The system's directories are mounted whole, so a write scope in them needs every directory above it to be fixed.
function checkSystemTrees({ facts }: Resolution, writes: readonly Hole[]): void {
  const isOpen = (path: string): boolean => {
    const stats = statSync(encodePath(path), { throwIfNoEntry: false });
    return stats === undefined || mayWrite(stats, facts.jobUsers);
  };
  for (const { source } of writes) {
    const tree = systemTrees(facts).find((root) => isWithin(source, root));
    if (tree === undefined) continue;
    const open = directoriesBetween(tree, source).find(isOpen);
    if (source !== tree && open === undefined) continue;
    throw new CscError(
      'NOT_PERMITTED',
      `write path ${showPath(source)} cannot be mounted in ${tree}: ${open ?? tree} must not be writable by others than root`,
    );
  }
}

function outermost(scopes: readonly OpenScope[]): OpenScope[] {
  const sorted = scopes.toSorted((a, b) => (a.source < b.source ? -1 : 1));
  const kept: OpenScope[] = [];
  for (const scope of sorted) if (!isShown(scope.source, kept)) kept.push(scope);
  return kept;
}

function isShown(path: string, scopes: readonly OpenScope[]): boolean {
  return scopes.some(({ source }) => isWithin(path, source));
}

function isVisible(path: string, binds: readonly OpenScope[], trees: readonly string[]): boolean {
  return isShown(path, binds) || trees.some((tree) => isWithin(path, tree));
}

// `root` itself, and what lies between it and `path`.
function directoriesBetween(root: string, path: string): string[] {
  if (!isWithin(path, root) || path === root) return [];
  const parent = posix.dirname(path);
  return [...directoriesBetween(root, parent), parent];
}

// Who declares a part for reading and what is around it for writing may count on its staying as it is.
function noteWritable(
  { notes }: Resolution,
  reads: readonly OpenScope[],
  writes: readonly OpenScope[],
): void {
  for (const { source: read } of reads) {
    const cover = writes.find(({ source }) => source !== read && isWithin(read, source));
    if (cover !== undefined)
      notes.push(
        `${showPath(read)} can be written as well: it is part of the write path ${showPath(cover.source)}`,
      );
  }
}

function tooManyEntries(source: string, inner: readonly Hole[]): CscError {
  return new CscError(
    'NOT_PERMITTED',
    `read path ${showPath(source)} holds write path ${showPath(inner[0]?.source ?? '')} and more than ${maxSplitEntries} entries, which another job can change right now; declare the entries that are needed, make ${showPath(source)} writable by root only, or wait for that job`,
  );
}

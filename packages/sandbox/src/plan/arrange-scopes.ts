import { statSync } from 'node:fs';
import { CscError } from '@csc-fleet/common/errors';
import { encodePath, isWithin, mayFill, mayRead, mayWrite, showPath } from '../host/index.ts';
import { checkEnterable } from './check-scope.ts';
import { findHidden, hiddenIn } from './hidden-places.ts';
import { joinWrites } from './join-writes.ts';
import { type Arrangement, directoriesBetween, type Hole, hideBelow, mountRead } from './mount-read.ts';
import { type OpenScope, openFor, type Resolution, type ResolvedScopes } from './scopes.ts';
import { ownDirectories, systemTrees } from './view.ts';

/**
 * Puts scopes into mounting order. What a wider scope shows already is dropped. Nothing is mounted below what a job can
 * write meanwhile: a symlink planted there would lead the mount astray (CVE-2026-87766). Write scopes share a mount where
 * that opens nothing else. What earlier jobs have left in a
 * read scope lies still, and was looked at. Where a write scope lies in a read scope that a running job can write, the
 * read scope is split into its entries, which are mounted beside the write scope. What csc keeps to itself is shown nowhere.
 */
export function arrangeScopes(
  resolution: Resolution,
  scopes: readonly OpenScope[],
  cwd: string,
): Omit<ResolvedScopes, 'missing' | 'close'> {
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
  const holesIn = (tree: string): Hole[] => holes.filter((hole) => isWithin(hole.source, tree));
  checkSystemTrees(resolution, holes);
  const trees = systemTrees(resolution.facts);
  const shown = [...reads.map(({ source }) => source), ...trees];
  const hidden = findHidden(resolution.waysToSecret(), shown, resolution.facts);
  resolution.notes.push(...hidden.notes);
  const arrangement: Arrangement = {
    resolution,
    hidden,
    binds: [],
    directories: [],
    unlisted: [],
    fixed: new Set(),
  };
  for (const read of reads) {
    if (isShown(read.source, roots)) continue;
    if (trees.some((tree) => isWithin(read.source, tree))) continue;
    mountRead(arrangement, read, holesIn(read.source));
  }
  for (const tree of trees.filter((it) => hiddenIn(hidden, it).length > 0))
    hideBelow(arrangement, openFor(resolution, tree, false), holesIn(tree));
  arrangement.binds.push(...writable, ...joined.flatMap(({ beside }) => beside));
  if (isVisible(cwd, arrangement, trees)) checkEnterable(resolution, cwd);
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

function finish(arrangement: Arrangement, cwd: string, trees: readonly string[]) {
  const { resolution, binds, fixed, unlisted } = arrangement;
  const directories = arrangement.directories.filter((path) => path !== '/').sort();
  const isMask = (path: string): boolean =>
    isShown(path, binds) || trees.some((tree) => isWithin(path, tree));
  const ordered = binds.toSorted((a, b) => (a.source < b.source ? -1 : 1));
  const links = [...resolution.links.values()].filter(
    ({ path }) => !isVisible(path, arrangement, trees) && !ownDirectories.some((own) => isWithin(own, path)),
  );
  return {
    binds: ordered.map(({ fd, source, writable }) => ({ fd, source, destination: source, writable })),
    directories: directories.filter((path) => !isMask(path) && !ownDirectories.includes(path)),
    masks: directories.filter(isMask),
    unlisted,
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

// What lies in a directory that shows only what is mounted in it is seen where that is mounted.
function isVisible(path: string, { binds, directories }: Arrangement, trees: readonly string[]): boolean {
  const innermost = (paths: readonly string[]): number =>
    Math.max(...paths.filter((it) => isWithin(path, it)).map(({ length }) => length), 0);
  const shown = innermost([...binds.map(({ source }) => source), ...trees]);
  return shown > 0 && shown > innermost(directories.filter((it) => it !== path));
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

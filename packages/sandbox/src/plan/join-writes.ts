import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import { isCscError } from '@csc-fleet/common/errors';
import { isCoveredBy } from '@csc-fleet/common/paths';
import { decodePath, descriptorPath, encodePath, isWithin, mayWrite } from '../host/index.ts';
import { maxOpenScopes, type OpenScope, openFor, type Resolution } from './scopes.ts';
import { closedTrees, ownDirectories, privateDirectories, systemTrees } from './view.ts';

/** Write scopes that are mounted as one. */
export interface JoinedWrites {
  /** What holds them all, mounted writable. */
  readonly root: OpenScope;
  /** All else that lies in it: mounted read-only on top. */
  readonly beside: readonly OpenScope[];
}

// Each is a mount; what has more is rather several mounts than a slow start.
const mostBeside = 128;

/**
 * Joins write scopes of a command in one mount of the directory above them, those in one read scope with each other, so
 * that it can rename and hard-link from one to the other (rename(2), EXDEV between mounts, whatever the file system). Only
 * where that lets it write, or see, nothing but what it would with a mount each: so the policy must let the directory be
 * written; no job may change it, nor another one on the way to a scope, by its mode; and all that lies beside the scopes
 * must be declared for reading anyhow, and is mounted on top, in directories that no job can change (CVE-2026-87766).
 */
export function joinWrites(
  resolution: Resolution,
  writes: readonly OpenScope[],
  reads: readonly OpenScope[],
): readonly JoinedWrites[] {
  const directories = writes.filter(({ stats }) => stats.isDirectory()).map(({ source }) => source);
  const inReads = reads.map((read) => directories.filter((path) => isWithin(path, read.source)));
  const groups = [...inReads, directories.filter((path) => !inReads.flat().includes(path))];
  const joined: JoinedWrites[] = [];
  // What is still to be made has no place in it yet: nothing is mounted before it has.
  for (const group of resolution.missing.size > 0 ? [] : groups) {
    if (group.length < 2) continue;
    const path = commonDirectory(group);
    const isFree = joined.every(({ root }) => !isWithin(path, root.source) && !isWithin(root.source, path));
    const next = isFree && mayBeMounted(resolution, path) ? join(resolution, path, writes, reads) : undefined;
    if (next !== undefined) joined.push(next);
  }
  return joined;
}

function join(
  resolution: Resolution,
  path: string,
  scopes: readonly OpenScope[],
  reads: readonly OpenScope[],
): JoinedWrites | undefined {
  try {
    const root = openFor(resolution, path, true);
    const writes = scopes.map(({ source }) => source);
    const beside = listBeside({ resolution, root, writes, reads }, path);
    if (beside === undefined || !hasRoom(resolution, beside)) return undefined;
    return { root, beside: beside.map((source) => openFor(resolution, source, false, at(root, source))) };
  } catch (error) {
    // Somebody changes it right now.
    if (isCscError(error, 'SCOPE_NOT_FOUND')) return undefined;
    throw error;
  }
}

function commonDirectory(paths: readonly string[]): string {
  let common = posix.dirname(paths[0] ?? '/');
  while (!paths.every((path) => isWithin(path, common))) common = posix.dirname(common);
  return common;
}

function mayBeMounted({ request, facts, waysToKept }: Resolution, path: string): boolean {
  const ofSystem = [...systemTrees(facts), ...closedTrees];
  const own = [...ofSystem, ...ownDirectories, ...privateDirectories];
  return (
    path !== '/' &&
    isCoveredBy(path, request.policy.allowed_write_prefixes) &&
    isCoveredBy(path, request.roots ?? ['/']) &&
    !waysToKept().some(({ place, links }) => [place, ...links].some((it) => isWithin(it, path))) &&
    !own.some((directory) => isWithin(directory, path)) &&
    !ofSystem.some((tree) => isWithin(path, tree))
  );
}

function hasRoom({ descriptors }: Resolution, beside: readonly string[]): boolean {
  return beside.length <= mostBeside && descriptors.size + beside.length <= maxOpenScopes;
}

interface Listing {
  readonly resolution: Resolution;
  readonly root: OpenScope;
  readonly writes: readonly string[];
  readonly reads: readonly OpenScope[];
}

// Undefined where something stands in the way.
function listBeside(listing: Listing, directory: string): string[] | undefined {
  const { resolution, root, writes } = listing;
  const stats = lstatSync(encodePath(at(root, directory)), { throwIfNoEntry: false });
  if (stats?.isDirectory() !== true || mayWrite(stats, resolution.facts.jobUsers)) return undefined;
  const found: string[] = [];
  for (const name of readdirSync(encodePath(at(root, directory)), 'buffer').map(decodePath)) {
    const source = posix.join(directory, name);
    if (writes.includes(source)) continue;
    const holdsScope = writes.some((write) => isWithin(write, source));
    const inner = holdsScope ? listBeside(listing, source) : judgeEntry(listing, source);
    if (inner === undefined || found.length > mostBeside) return undefined;
    found.push(...inner);
  }
  return found;
}

// Symlinks and other special files need no mount, as their directory keeps them as they are: but their owner could change
// who may use them.
function judgeEntry({ resolution, root, reads }: Listing, source: string): string[] | undefined {
  const isDeclared = reads.some((read) => isWithin(source, read.source)) || resolution.links.has(source);
  const stats = lstatSync(encodePath(at(root, source)), { throwIfNoEntry: false });
  if (!isDeclared || stats === undefined) return undefined;
  if (stats.isDirectory() || stats.isFile()) return [source];
  return stats.isSymbolicLink() || !isOfJob(resolution, stats) ? [] : undefined;
}

function isOfJob({ facts }: Resolution, { uid }: Stats): boolean {
  return facts.jobUsers.all.some((user) => user.uid === uid);
}

// The dot: without it the root's is the link itself (proc_pid_fd(5)).
function at(root: OpenScope, path: string): string {
  return `${descriptorPath(root.fd)}/.${path.slice(root.source.length)}`;
}

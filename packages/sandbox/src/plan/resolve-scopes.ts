import { closeSync } from 'node:fs';
import { posix } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { isCoveredBy } from '@csc-fleet/common/paths';
import { findClosedParent, isWithin, type Walk, walkPath } from '../host/index.ts';
import { arrangeScopes } from './arrange-scopes.ts';
import type { RunFacts } from './facts.ts';
import { expandGlob, isGlob, stripTree } from './glob.ts';
import { checkCreatable, makeWritePath } from './make-write-path.ts';
import {
  type OpenScope,
  openFor,
  type Resolution,
  type ResolvedScopes,
  type ScopeRequest,
} from './scopes.ts';
import { closedTrees, privateDirectories } from './view.ts';

/**
 * Resolves what a command declared, holds it against the policy again now that symlinks are followed, and opens it.
 * Makes nothing: write paths that are not there are `missing`, and what the scopes will be is known once `makeMissing`
 * has made them. Throws NOT_PERMITTED, HOST_CEILING_EXCEEDED or SCOPE_NOT_FOUND naming the path; nothing stays open then.
 */
export function resolveScopes(request: ScopeRequest, facts: RunFacts): ResolvedScopes {
  const resolution = beginResolution(request, facts);
  const close = (): void => {
    for (const fd of resolution.descriptors) closeSync(fd);
    resolution.descriptors.clear();
  };
  try {
    const scopes = [
      ...request.writePaths.flatMap((path) => openDeclared(resolution, path, true)),
      ...request.readPaths.flatMap((path) => openDeclared(resolution, path, false)),
    ];
    const cwd = resolveCwd(resolution);
    const missing = [...resolution.missing.keys()];
    for (const path of missing)
      resolution.notes.push(`${path} is not there yet: it is made before the command starts`);
    return { ...arrangeScopes(resolution, showCwd(resolution, scopes, cwd), cwd), missing, close };
  } catch (error) {
    close();
    throw error;
  }
}

function beginResolution(request: ScopeRequest, facts: RunFacts): Resolution {
  return { request, facts, descriptors: new Set(), links: new Map(), missing: new Map(), notes: [] };
}

function openDeclared(resolution: Resolution, declared: string, writable: boolean): OpenScope[] {
  const path = stripTree(declared);
  if (!isGlob(path)) {
    const walk = walkDeclared(resolution, path, writable);
    return walk === undefined ? [] : [openScope(resolution, declared, walk, writable)];
  }
  const matches = expandGlob(path).flatMap((match) => walkPath(match) ?? []);
  if (matches.length === 0) resolution.notes.push(`${declared} matches nothing`);
  return matches.map((walk) => openScope(resolution, declared, walk, writable));
}

// Undefined for what is still to be made.
function walkDeclared(resolution: Resolution, path: string, writable: boolean): Walk | undefined {
  const walk = walkPath(path);
  if (walk !== undefined) return walk;
  if (writable) {
    findPlace(resolution, path);
    return undefined;
  }
  // A write path of the same command, or above one.
  if (resolution.missing.has(path)) return undefined;
  throw new CscError(
    'SCOPE_NOT_FOUND',
    `read path ${path} does not exist on this host, or is closed to the executor`,
  );
}

/**
 * Makes the write paths of a request that are not there, with the directories above them, as far as policy and host let
 * them be written. They are the job user's. Only for a run that is certain to have its receipt: what is made stays.
 * Returns what was made, for people. Throws NOT_PERMITTED, HOST_CEILING_EXCEEDED or SCOPE_NOT_FOUND, before it makes any
 * of them where that can be known.
 */
export function makeMissing(request: ScopeRequest, facts: RunFacts): readonly string[] {
  const resolution = beginResolution(request, facts);
  for (const path of request.writePaths.map(stripTree))
    if (!isGlob(path) && walkPath(path) === undefined) findPlace(resolution, path);
  for (const place of resolution.missing.values()) makeWritePath(place, facts);
  return [...resolution.missing.keys()].map((path) => `${path} was created`);
}

// Where a write path will be, free of symlinks as far as it is there; noted, after the directories above it.
function findPlace(resolution: Resolution, path: string): string {
  const known = resolution.missing.get(path);
  if (known !== undefined) return known;
  const directory = posix.dirname(path);
  const parent = walkPath(directory)?.path;
  const place = posix.join(parent ?? findPlace(resolution, directory), posix.basename(path));
  checkOpenable(path, place);
  checkCovered(resolution, place, 'allowed_write_prefixes', path);
  checkReachable(resolution, place);
  if (parent !== undefined) checkCreatable(place, resolution.facts);
  resolution.missing.set(path, place);
  return place;
}

function openScope(resolution: Resolution, declared: string, walk: Walk, writable: boolean): OpenScope {
  const { path } = walk;
  checkOpenable(declared, path);
  checkCovered(resolution, path, writable ? 'allowed_write_prefixes' : 'allowed_read_prefixes', declared);
  checkReachable(resolution, path);
  for (const link of walk.links) resolution.links.set(link.path, link);
  const scope = openFor(resolution, path, writable);
  if (scope.stats.isDirectory() || scope.stats.isFile()) return scope;
  throw new CscError('NOT_PERMITTED', `${declared} is neither a file nor a directory`);
}

function resolveCwd(resolution: Resolution): string {
  const { cwd } = resolution.request;
  const walk = walkPath(cwd);
  if (walk === undefined) throw new CscError('SCOPE_NOT_FOUND', `cwd ${cwd} does not exist on this host`);
  if (walk.path !== '/') checkOpenable(cwd, walk.path);
  checkCovered(resolution, walk.path, 'allowed_cwd_prefixes', cwd);
  for (const link of walk.links) resolution.links.set(link.path, link);
  return walk.path;
}

// Where the policy lets the cwd be read, it is a read scope of its own, unless the contract declared parts of it only.
function showCwd(resolution: Resolution, scopes: readonly OpenScope[], cwd: string): readonly OpenScope[] {
  const directory = openFor(resolution, cwd, false);
  if (!directory.stats.isDirectory()) throw new CscError('SCOPE_NOT_FOUND', `cwd ${cwd} is not a directory`);
  const { allowed_read_prefixes } = resolution.request.policy;
  const isPartial = scopes.some(({ source }) => source !== cwd && isWithin(source, cwd));
  const isPrivate = cwd === '/' || privateDirectories.some((path) => isWithin(path, cwd));
  if (isPartial || isPrivate || !isCoveredBy(cwd, allowed_read_prefixes)) return scopes;
  checkReachable(resolution, cwd);
  return [...scopes, directory];
}

function checkOpenable(declared: string, path: string): void {
  if (path === '/')
    throw new CscError('NOT_PERMITTED', `${declared} is the whole file system; declare what is needed`);
  const closed = closedTrees.find((tree) => isWithin(path, tree));
  if (closed === undefined) return;
  throw new CscError('NOT_PERMITTED', `${declared} leads into ${closed}, which a sandbox has of its own`);
}

function checkCovered(
  { request }: Resolution,
  path: string,
  prefixes: 'allowed_read_prefixes' | 'allowed_write_prefixes' | 'allowed_cwd_prefixes',
  declared: string,
): void {
  const leads = path === declared ? 'is' : `leads to ${path}, which is`;
  if (!isCoveredBy(path, request.policy[prefixes]))
    throw new CscError('NOT_PERMITTED', `${declared} ${leads} outside the policy's ${prefixes}`);
  if (!isCoveredBy(path, request.roots ?? ['/']))
    throw new CscError('HOST_CEILING_EXCEEDED', `${declared} ${leads} outside the path_roots of this host`);
}

// bwrap finds the source of a bind by its path, as the job user.
function checkReachable({ facts }: Resolution, path: string): void {
  const closed = findClosedParent(path, facts.jobUser);
  if (closed === undefined) return;
  throw new CscError(
    'SCOPE_NOT_FOUND',
    `${path} cannot be reached by the job user (uid ${facts.jobUser.uid}), who may not enter ${closed}; chmod o+x it, or move the scope`,
  );
}

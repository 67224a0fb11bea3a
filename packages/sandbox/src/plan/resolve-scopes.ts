import { closeSync } from 'node:fs';
import { posix } from 'node:path';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { isCoveredBy } from '@csc-fleet/common/paths';
import { findClosedParent, isWithin, showPath, type Walk, walkPath } from '../host/index.ts';
import { arrangeScopes } from './arrange-scopes.ts';
import type { RunFacts } from './facts.ts';
import {
  createSearchBudget,
  expandPattern,
  mayMatchBelow,
  type Pattern,
  readDeclared,
  stripTree,
} from './glob.ts';
import { checkCreatable, makeWritePath, takeBackUnwritten } from './make-write-path.ts';
import { chooseKind } from './missing-paths.ts';
import {
  closeFor,
  finishNotes,
  type MissingPath,
  noteLeftOut,
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
    for (const [path, made] of resolution.missing) resolution.notes.push(describeMissing(path, made));
    const arranged = arrangeScopes(resolution, showCwd(resolution, scopes, cwd), cwd);
    return { ...arranged, notes: finishNotes(resolution.notes), missing, close };
  } catch (error) {
    close();
    throw error;
  }
}

function beginResolution(request: ScopeRequest, facts: RunFacts): Resolution {
  return {
    request,
    facts,
    descriptors: new Set(),
    links: new Map(),
    search: createSearchBudget(),
    missing: new Map(),
    notes: [],
  };
}

function describeMissing(path: string, { kind, guess }: MissingPath): string {
  const what = kind === 'file' ? 'an empty file' : 'a directory';
  const because = guess === undefined ? '' : ` (${guess})`;
  return `${showPath(path)} is not there yet: it is made before the command starts, as ${what}${because}`;
}

function openDeclared(resolution: Resolution, declared: string, writable: boolean): OpenScope[] {
  const reading = readDeclared(declared);
  if (reading.kind === 'pattern') return openMatches(resolution, reading, writable);
  const { path } = reading;
  const walk = walkDeclared(resolution, path, writable);
  if (walk === undefined) return [];
  if (/[*?]/.test(path))
    resolution.notes.push(`${path} is there by exactly that name, and is no pattern here`);
  const scope = openScope(resolution, declared, walk, writable);
  if (isMountable(scope)) return [scope];
  throw new CscError('NOT_PERMITTED', `${declared} is neither a file nor a directory`);
}

// One that another job has left there, or takes away again, must not stop everybody's patterns.
function openMatches(resolution: Resolution, reading: Pattern, writable: boolean): OpenScope[] {
  const { pattern } = reading;
  const scopes: OpenScope[] = [];
  const leftOut: Record<LeftOut, string[]> = { gone: [], closed: [], outside: [], other: [] };
  for (const match of expandPattern(reading, resolution.search)) {
    // A pattern that ends in a name gives it for every directory.
    const walk = walkPath(match);
    if (walk === undefined) continue;
    const scope = openMatch(resolution, pattern, walk, writable);
    if (typeof scope === 'string') leftOut[scope].push(match);
    else if (isMountable(scope)) scopes.push(scope);
    else {
      leftOut.other.push(match);
      closeFor(resolution, scope);
    }
  }
  for (const kind of leftOutKinds) noteLeftOut(resolution, leftOut[kind], pattern, leftOutBecause[kind]);
  if (scopes.length === 0) resolution.notes.push(describeEmpty(pattern, writable));
  return scopes;
}

function describeEmpty(pattern: string, writable: boolean): string {
  const made = writable ? ', and what a pattern stands for is never made' : '';
  const hint = pattern.includes('[') ? String.raw`; in a name that has brackets, write \[ for each` : '';
  return `${pattern} matches nothing: it grants nothing${made}${hint}`;
}

const leftOutBecause = {
  gone: 'they changed meanwhile',
  closed: 'the job user may not enter the directories above them',
  outside: 'symlinks that lead outside what policy and host allow',
  other: 'neither files nor directories',
};
type LeftOut = keyof typeof leftOutBecause;
const leftOutKinds: readonly LeftOut[] = ['gone', 'closed', 'outside', 'other'];

function openMatch(
  resolution: Resolution,
  pattern: string,
  walk: Walk,
  writable: boolean,
): OpenScope | LeftOut {
  try {
    checkScope(resolution, pattern, walk, writable);
  } catch (error) {
    if (isCscError(error, 'SCOPE_NOT_FOUND')) return 'closed';
    if (isCscError(error) && walk.links.length > 0) return 'outside';
    throw error;
  }
  try {
    return openFor(resolution, walk.path, writable);
  } catch (error) {
    if (isCscError(error, 'SCOPE_NOT_FOUND')) return 'gone';
    throw error;
  }
}

function isMountable({ stats }: OpenScope): boolean {
  return stats.isDirectory() || stats.isFile();
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
    `read path ${showPath(path)} does not exist on this host, or is closed to the executor`,
  );
}

/** What was made on the host for a command. */
export interface MadePaths {
  /** For people. */
  readonly notes: readonly string[];
  /** To be called when nothing of the command runs: takes away those of the files that it has not written. */
  takeBackUnwritten(): void;
}

/**
 * Makes the write paths of a request that are not there, with the directories above them, as far as policy and host let
 * them be written. They are the job user's. Only for a run that is certain to have its receipt: what is made stays.
 * Throws NOT_PERMITTED, HOST_CEILING_EXCEEDED or SCOPE_NOT_FOUND, before it makes any
 * of them where that can be known.
 */
export function makeMissing(request: ScopeRequest, facts: RunFacts): MadePaths {
  const resolution = beginResolution(request, facts);
  for (const declared of request.writePaths) {
    const reading = readDeclared(declared);
    if (reading.kind === 'path' && walkPath(reading.path) === undefined) findPlace(resolution, reading.path);
  }
  for (const { place, kind } of resolution.missing.values()) makeWritePath(place, kind, facts);
  const files = [...resolution.missing.values()].filter(({ kind }) => kind === 'file');
  return {
    notes: [...resolution.missing.keys()].map((path) => `${path} was created`),
    takeBackUnwritten: () => {
      for (const { place } of files) takeBackUnwritten(place);
    },
  };
}

// Where a write path will be, free of symlinks as far as it is there; noted, after the directories above it.
function findPlace(resolution: Resolution, path: string): string {
  const known = resolution.missing.get(path)?.place;
  if (known !== undefined) return known;
  const directory = posix.dirname(path);
  const parent = walkPath(directory)?.path;
  const place = posix.join(parent ?? findDirectory(resolution, directory), posix.basename(path));
  checkOpenable(path, place);
  checkCovered(resolution, place, 'allowed_write_prefixes', path);
  checkReachable(resolution, place);
  if (parent !== undefined) checkCreatable(place, resolution.facts);
  resolution.missing.set(path, { place, ...chooseKind(path, resolution.request) });
  return place;
}

// Something is to be made in it.
function findDirectory(resolution: Resolution, path: string): string {
  const place = findPlace(resolution, path);
  resolution.missing.set(path, { place, kind: 'directory' });
  return place;
}

function openScope(resolution: Resolution, declared: string, walk: Walk, writable: boolean): OpenScope {
  checkScope(resolution, declared, walk, writable);
  return openFor(resolution, walk.path, writable);
}

// All that a path is held against before it is opened; its symlinks are shown then.
function checkScope(resolution: Resolution, declared: string, walk: Walk, writable: boolean): void {
  const { path } = walk;
  checkOpenable(declared, path);
  checkCovered(resolution, path, writable ? 'allowed_write_prefixes' : 'allowed_read_prefixes', declared);
  checkReachable(resolution, path);
  for (const link of walk.links) resolution.links.set(link.path, link);
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

// Where the policy lets the cwd be read, it is a read scope of its own, unless the contract declared parts of it only:
// declared, whatever was found there, as else what turns out empty would open all around it.
function showCwd(resolution: Resolution, scopes: readonly OpenScope[], cwd: string): readonly OpenScope[] {
  const directory = openFor(resolution, cwd, false);
  if (!directory.stats.isDirectory()) throw new CscError('SCOPE_NOT_FOUND', `cwd ${cwd} is not a directory`);
  const { allowed_read_prefixes } = resolution.request.policy;
  const isPartial =
    scopes.some(({ source }) => isBelow(source, cwd)) ||
    [...resolution.missing.values()].some(({ place }) => isBelow(place, cwd)) ||
    declaresBelow(resolution.request, cwd);
  const isPrivate = cwd === '/' || privateDirectories.some((path) => isWithin(path, cwd));
  if (isPartial || isPrivate || !isCoveredBy(cwd, allowed_read_prefixes)) return scopes;
  checkReachable(resolution, cwd);
  return [...scopes, directory];
}

function isBelow(path: string, directory: string): boolean {
  return path !== directory && isWithin(path, directory);
}

// Asked of the text, by each name that the cwd has, and of where a pattern begins.
function declaresBelow({ cwd: declaredCwd, readPaths, writePaths }: ScopeRequest, cwd: string): boolean {
  const directories = [cwd, stripTree(declaredCwd)];
  return [...readPaths, ...writePaths].some((declared) => {
    const reading = readDeclared(declared);
    return directories.some((directory) =>
      reading.kind === 'path' ? isBelow(reading.path, directory) : mayMatchBelow(reading, directory),
    );
  });
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
  const leads = path === declared ? 'is' : `leads to ${showPath(path)}, which is`;
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
    `${showPath(path)} cannot be reached by the job user (uid ${facts.jobUser.uid}), who may not enter ${showPath(closed)}; chmod o+x it, or move the scope`,
  );
}

import { closeSync } from 'node:fs';
import { CscError } from '@csc-fleet/common/errors';
import { isCoveredBy } from '@csc-fleet/common/paths';
import { isWithin, maxNames, showPath, walkPath } from '../host/index.ts';
import { arrangeScopes } from './arrange-scopes.ts';
import { checkCovered, checkNotSecret, checkOpenable, checkReachable } from './check-scope.ts';
import type { KeptPlace, RunFacts } from './facts.ts';
import { createSearchBudget, mayMatchBelow, readDeclared, stripTree } from './glob.ts';
import { findWaysToKept, type WayToKept } from './kept-places.ts';
import { makeWritePath, takeBackUnwritten } from './make-write-path.ts';
import { describeMissing, findPlace } from './missing-paths.ts';
import { openDeclared } from './open-declared.ts';
import {
  finishNotes,
  type OpenScope,
  openFor,
  type Resolution,
  type ResolvedScopes,
  type ScopeRequest,
} from './scopes.ts';
import { privateDirectories } from './view.ts';

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
  checkNames(request);
  let ways: readonly WayToKept[] | undefined;
  let secret: readonly WayToKept[] | undefined;
  return {
    request,
    facts,
    descriptors: new Set(),
    links: new Map(),
    search: createSearchBudget(),
    waysToKept() {
      ways ??= findWaysToKept(facts.kept);
      return ways;
    },
    // Of what is not secret nobody asks where nothing is written, and it is most of it.
    waysToSecret() {
      secret ??= ways?.filter(isSecret) ?? findWaysToKept(facts.kept.filter(isSecret));
      return secret;
    },
    missing: new Map(),
    notes: [],
  };
}

// Jobs can leave directories as deep as a path can be, and hundreds of such paths would hold the executor up for minutes.
function checkNames({ cwd, readPaths, writePaths }: ScopeRequest): void {
  for (const path of [cwd, ...readPaths, ...writePaths]) {
    if (path.split('/').filter((name) => name !== '' && name !== '.').length <= maxNames) continue;
    throw new CscError(
      'NOT_PERMITTED',
      `a declared path has more than ${maxNames} names (${showPath(path.slice(0, 64))}…): declare a directory above it`,
    );
  }
}

function isSecret(place: Pick<KeptPlace, 'isSecret'>): boolean {
  return place.isSecret === true;
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

function resolveCwd(resolution: Resolution): string {
  const { cwd } = resolution.request;
  const walk = walkPath(cwd);
  if (walk === undefined) throw new CscError('SCOPE_NOT_FOUND', `cwd ${cwd} does not exist on this host`);
  if (walk.path !== '/') checkOpenable(cwd, walk.path);
  checkCovered(resolution, walk.path, 'allowed_cwd_prefixes', cwd);
  checkNotSecret(resolution, walk.path, `cwd ${cwd}`);
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

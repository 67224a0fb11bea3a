import { posix } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { isCoveredBy } from '@csc-fleet/common/paths';
import { findClosedParent, isWithin, showPath, type Walk } from '../host/index.ts';
import type { WayToKept } from './kept-places.ts';
import { nameBefore } from './put-aside.ts';
import type { Resolution } from './scopes.ts';
import { closedTrees } from './view.ts';

/**
 * All that a path is held against before it is opened, by where it leads; its symlinks are shown then. Throws as the checks
 * do that it has.
 */
export function checkScope(resolution: Resolution, declared: string, walk: Walk, writable: boolean): void {
  const { path } = walk;
  checkOpenable(declared, path);
  checkCovered(resolution, path, writable ? 'allowed_write_prefixes' : 'allowed_read_prefixes', declared);
  if (writable) checkNotKept(resolution, path, declared);
  else checkNotSecret(resolution, path, declared);
  checkReachable(resolution, path);
  for (const link of walk.links) resolution.links.set(link.path, link);
}

/** Throws NOT_PERMITTED for what no contract may declare. */
export function checkOpenable(declared: string, path: string): void {
  if (path === '/')
    throw new CscError('NOT_PERMITTED', `${declared} is the whole file system; declare what is needed`);
  const closed = closedTrees.find((tree) => isWithin(path, tree));
  if (closed === undefined) return;
  throw new CscError('NOT_PERMITTED', `${declared} leads into ${closed}, which a sandbox has of its own`);
}

/**
 * Throws NOT_PERMITTED for a write scope by which a job could change what this process keeps for later ones: they would
 * believe it, outside of any sandbox. A mount over it would not do: whoever may write above it can move it away and put
 * another in its place.
 */
export function checkNotKept({ waysToKept }: Resolution, path: string, declared: string): void {
  for (const { name, place, links } of waysToKept()) {
    const changed = isWithin(path, place) ? place : [place, ...links].find((it) => isWithin(it, path));
    if (changed === undefined) continue;
    throw new CscError(
      'NOT_PERMITTED',
      `${declared} lets the command write ${showPath(changed)}, and csc believes later what is there: it is ${name}; declare less, or have that elsewhere`,
    );
  }
}

/**
 * Throws NOT_PERMITTED for a read scope, or a cwd, that is or lies in what csc keeps to itself. What only holds such a place is
 * shown without it (`findHidden`).
 */
export function checkNotSecret(resolution: Resolution, path: string, declared: string): void {
  const secret = findSecret(resolution, path);
  if (secret === undefined) return;
  throw new CscError(
    'NOT_PERMITTED',
    `${declared} lets the command read ${showPath(secret.place)}, which csc keeps to itself: it is ${secret.name}; declare less, or have that elsewhere`,
  );
}

/** The secret place that a path is, lies in or was put aside for; undefined where there is none. */
export function findSecret({ waysToSecret }: Resolution, path: string): WayToKept | undefined {
  const before = nameBefore(path);
  return waysToSecret().find(
    ({ place, links }) =>
      isWithin(path, place) || before === place || (before !== path && links.includes(before)),
  );
}

/** Throws NOT_PERMITTED where the policy does not cover a path, and HOST_CEILING_EXCEEDED where the host's owner does not. */
export function checkCovered(
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

/** Throws SCOPE_NOT_FOUND for what the job user cannot get to: bwrap finds the source of a bind by its path, as that user. */
export function checkReachable({ facts }: Resolution, path: string): void {
  const closed = findClosedParent(path, facts.jobUser);
  if (closed === undefined) return;
  throw new CscError(
    'SCOPE_NOT_FOUND',
    `${showPath(path)} cannot be reached by the job user (uid ${facts.jobUser.uid}), who may not enter ${showPath(closed)}; chmod o+x it, or move the scope`,
  );
}

/** Throws SCOPE_NOT_FOUND for a cwd of the host's own that the job user may not enter: bwrap's chdir(2) would fail. */
export function checkEnterable({ facts }: Resolution, cwd: string): void {
  const closed = findClosedParent(posix.join(cwd, 'anything'), facts.jobUser);
  if (closed === undefined) return;
  throw new CscError(
    'SCOPE_NOT_FOUND',
    `cwd ${showPath(cwd)} cannot be entered by the job user (uid ${facts.jobUser.uid}), who may not enter ${showPath(closed)}; chmod o+x it, chown it, or declare another cwd`,
  );
}

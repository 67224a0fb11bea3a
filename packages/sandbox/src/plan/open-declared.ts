import { CscError, isCscError } from '@csc-fleet/common/errors';
import { showPath, type Walk, walkPath } from '../host/index.ts';
import { checkScope, findSecret } from './check-scope.ts';
import { expandPattern, type Pattern, readDeclared } from './glob.ts';
import { findPlace } from './missing-paths.ts';
import { closeFor, noteLeftOut, type OpenScope, openFor, type Resolution } from './scopes.ts';

/**
 * Opens what a declared path stands for. None of it: it is still to be made, or a pattern matches nothing, which a note
 * says. Throws NOT_PERMITTED, HOST_CEILING_EXCEEDED or SCOPE_NOT_FOUND.
 */
export function openDeclared(resolution: Resolution, declared: string, writable: boolean): OpenScope[] {
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
  const leftOut: Record<LeftOut, string[]> = { gone: [], closed: [], outside: [], secret: [], other: [] };
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
  secret: 'csc keeps them to itself',
  other: 'neither files nor directories',
};

type LeftOut = keyof typeof leftOutBecause;

const leftOutKinds: readonly LeftOut[] = ['gone', 'closed', 'outside', 'secret', 'other'];

function openMatch(
  resolution: Resolution,
  pattern: string,
  walk: Walk,
  writable: boolean,
): OpenScope | LeftOut {
  if (!writable && findSecret(resolution, walk.path) !== undefined) return 'secret';
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

function openScope(resolution: Resolution, declared: string, walk: Walk, writable: boolean): OpenScope {
  checkScope(resolution, declared, walk, writable);
  return openFor(resolution, walk.path, writable);
}

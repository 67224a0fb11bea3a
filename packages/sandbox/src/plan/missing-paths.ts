import { posix } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { isWithin, showPath, walkPath } from '../host/index.ts';
import { checkCovered, checkNotKept, checkOpenable, checkReachable } from './check-scope.ts';
import { readDeclared, stripTree } from './glob.ts';
import { checkCreatable } from './make-write-path.ts';
import type { MissingPath, Resolution, ScopeRequest } from './scopes.ts';

/** The most directories that are made for a command: each takes a process, which the executor waits for. */
export const maxMadeDirectories = 64;

// Names of directories end so as well: data.d, repo.git, example.org, build.old.
const ofDirectories =
  /\.(?:d|git|app|bundle|framework|xcodeproj|lproj|egg|old|bak|orig|new|tmp|temp|cache|com|org|net|io|dev|local)$/i;
const ofFiles = /[^.].*\.[a-z][a-z0-9]{0,9}$/i;

/**
 * Whether a missing write path will be a file or a directory. `X/` and `X/**` are directories. The protocol leaves `X`
 * open, and directories are what contracts have relied upon: so it is a file only where nothing that the contract says
 * leads into it, and it is an expected output or its name ends as files' names do.
 */
function chooseKind(path: string, request: ScopeRequest): Pick<MissingPath, 'kind' | 'guess'> {
  if (request.writePaths.some((declared) => saysDirectory(declared, path))) return { kind: 'directory' };
  const written = `${showPath(path)}/`;
  const isOutput = request.outputs?.some((output) => stripTree(output) === path) === true;
  const isNamedAsFile = ofFiles.test(posix.basename(path)) && !ofDirectories.test(path);
  if (isLedInto(path, request) || !(isOutput || isNamedAsFile))
    return {
      kind: 'directory',
      guess: `write ${written} to say so; a file is made where expected_outputs names it`,
    };
  const why = isOutput ? 'expected_outputs names it' : 'by its name it is a file';
  return { kind: 'file', guess: `${why}; write ${written} for a directory` };
}

function saysDirectory(declared: string, path: string): boolean {
  const reading = readDeclared(declared);
  return reading.kind === 'path' && reading.isDirectory && reading.path === path;
}

// What leads into it must find a directory: other declared paths, and arguments, from the root or from the cwd.
function isLedInto(
  path: string,
  { cwd, readPaths, writePaths, outputs = [], words = [] }: ScopeRequest,
): boolean {
  const declared = [cwd, ...readPaths, ...writePaths, ...outputs];
  if (declared.some((other) => other !== path && other !== `${path}/` && isWithin(other, path))) return true;
  const names = [`${path}/`, `${posix.relative(cwd, path)}/`];
  return words.some((word) => names.some((name) => word.includes(name)));
}

/** What people are told of it. */
export function describeMissing(path: string, { kind, guess }: MissingPath): string {
  const what = kind === 'file' ? 'an empty file' : 'a directory';
  const because = guess === undefined ? '' : ` (${guess})`;
  return `${showPath(path)} is not there yet: it is made before the command starts, as ${what}${because}`;
}

/**
 * Where a write path will be, free of symlinks as far as it is there; noted as missing, after the directories above it.
 * Throws NOT_PERMITTED, HOST_CEILING_EXCEEDED or SCOPE_NOT_FOUND where it may not, or certainly cannot, be made.
 */
export function findPlace(resolution: Resolution, path: string): string {
  const known = resolution.missing.get(path)?.place;
  if (known !== undefined) return known;
  const directory = posix.dirname(path);
  const parent = walkPath(directory)?.path;
  const place = posix.join(parent ?? findDirectory(resolution, directory), posix.basename(path));
  checkOpenable(path, place);
  checkCovered(resolution, place, 'allowed_write_prefixes', path);
  checkNotKept(resolution, place, path);
  checkReachable(resolution, place);
  if (parent !== undefined) checkCreatable(place, resolution.facts);
  noteMissing(resolution, path, { place, ...chooseKind(path, resolution.request) });
  return place;
}

function noteMissing({ missing }: Resolution, path: string, made: MissingPath): void {
  missing.set(path, made);
  const directories = [...missing.values()].filter(({ kind }) => kind === 'directory');
  if (directories.length <= maxMadeDirectories) return;
  throw new CscError(
    'NOT_PERMITTED',
    `more than ${maxMadeDirectories} directories would have to be made for the write paths of this command, ${showPath(path)} among them; make them on the host, or declare one above them and let the command make the rest`,
  );
}

// Something is to be made in it.
function findDirectory(resolution: Resolution, path: string): string {
  const place = findPlace(resolution, path);
  noteMissing(resolution, path, { place, kind: 'directory' });
  return place;
}

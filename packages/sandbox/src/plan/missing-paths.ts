import { posix } from 'node:path';
import { isWithin, showPath } from '../host/index.ts';
import { readDeclared, stripTree } from './glob.ts';
import type { MissingPath, ScopeRequest } from './scopes.ts';

// Names of directories end so as well: data.d, repo.git, example.org, build.old.
const ofDirectories =
  /\.(?:d|git|app|bundle|framework|xcodeproj|lproj|egg|old|bak|orig|new|tmp|temp|cache|com|org|net|io|dev|local)$/i;
const ofFiles = /[^.].*\.[a-z][a-z0-9]{0,9}$/i;

/**
 * Whether a missing write path will be a file or a directory. `X/` and `X/**` are directories. The protocol leaves `X`
 * open, and directories are what contracts have relied upon: so it is a file only where the contract lists it among its
 * expected outputs, or its name ends as files' names do and nothing that the contract says leads into it.
 */
export function chooseKind(path: string, request: ScopeRequest): Pick<MissingPath, 'kind' | 'guess'> {
  if (request.writePaths.some((declared) => saysDirectory(declared, path))) return { kind: 'directory' };
  if (request.outputs?.some((output) => stripTree(output) === path)) return { kind: 'file' };
  const leadsInto = isLedInto(path, request);
  if (!leadsInto && ofFiles.test(posix.basename(path)) && !ofDirectories.test(path))
    return { kind: 'file', guess: `by its name it is a file; write ${showPath(path)}/ for a directory` };
  return {
    kind: 'directory',
    guess: `write ${showPath(path)}/ to say so; a file is made where expected_outputs names it`,
  };
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

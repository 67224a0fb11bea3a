import { existsSync, mkdir, mkdirSync, mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { CscError } from '../errors/index.ts';
import { explainFileError } from './read-file.ts';

const causes: Readonly<Record<string, string>> = {
  ENOENT: 'no directory can be made there',
  EEXIST: 'something else has that name',
  EACCES: 'this user may not make it',
  EPERM: 'this user may not make it',
  EROFS: 'its file system is read-only',
  ENOSPC: 'the disk is full',
};

export interface DirectoryOptions {
  /** Of each directory that is made, as in chmod, less the umask; one that is there keeps its own. Default: 0o777. */
  readonly mode?: number;
  /** What to call it in an error, path and all. Default: the path. */
  readonly as?: string;
}

/**
 * Makes a directory and those above it, where they are not there. Throws FILE_UNWRITABLE with `failed to make PATH` and
 * why. Node's own way (`recursive`) never ends, at full speed, where a directory is there and what is to be made in it
 * gives ENOENT, as below /proc (mkdir(2)).
 */
export function makeDirectory(path: string, { mode = 0o777, as = path }: DirectoryOptions = {}): void {
  try {
    make(path, mode);
  } catch (cause) {
    throw new CscError('FILE_UNWRITABLE', `failed to make ${as}: ${explain(cause)}`, { cause });
  }
}

/**
 * Makes a directory, and those between it and `top`, which must be there: what is moved away from under a service, or is not
 * mounted, is not begun anew in its place. Gives those that were not there, from the top down, for whoever has to sync the one
 * above each. Rejects as mkdir(2) does.
 */
export async function makeDirectoryBelow(top: string, path: string, mode: number): Promise<string[]> {
  if (path === top || isDirectory(path)) return [];
  const above = await makeDirectoryBelow(top, dirname(path), mode);
  try {
    await promisify(mkdir)(path, { mode });
  } catch (error) {
    // Another call may have been faster.
    if (!isDirectory(path)) throw error;
    return above;
  }
  return [...above, path];
}

/**
 * Tries whether a directory can be made, or written where it is there, and leaves nothing behind. Throws FILE_UNWRITABLE.
 * @param as what to call it in an error, path and all
 */
export function checkWritableDirectory(path: string, as = path): void {
  let there = path;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  const where = there === path ? as : `${as}: it is to be made in ${there}, which`;
  if (!isDirectory(there)) throw new CscError('FILE_UNWRITABLE', `${where} is no directory`);
  try {
    rmdirSync(mkdtempSync(join(there, '.csc-check-')));
  } catch (cause) {
    const why = explainFileError(cause, 'write');
    throw new CscError('FILE_UNWRITABLE', `${where} cannot be written: ${why}`, { cause });
  }
}

/**
 * Makes a directory of its own for a moment, where this machine has such; whoever makes it removes it. Throws FILE_UNWRITABLE.
 * @param prefix of its name
 */
export function makeTemporaryDirectory(prefix: string): string {
  const place = tmpdir();
  try {
    return mkdtempSync(join(place, prefix));
  } catch (cause) {
    const why = isDirectory(place) ? explain(cause) : 'there is no such directory';
    const message = `nothing can be put into ${place} for a moment: ${why}; TMPDIR names another place`;
    throw new CscError('FILE_UNWRITABLE', message, { cause });
  }
}

function make(path: string, mode: number): void {
  if (isDirectory(path)) return;
  if (dirname(path) !== path) make(dirname(path), mode);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    // Another process may have been faster.
    if (!isDirectory(path)) throw error;
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  } catch {
    return false;
  }
}

function explain(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return causes[code] ?? explainFileError(error);
}

import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CscError } from '../errors/index.ts';
import { explainFileError } from './read-file.ts';

/**
 * Puts a file in the place of whatever is there: whole and on disk, or not at all. Throws FILE_UNWRITABLE.
 * @param data in pieces where it is more than one string holds
 * @param mode as in chmod, less the umask
 */
export function replaceFile(path: string, data: string | Uint8Array | Iterable<string>, mode: number): void {
  writeAside(path, data, mode, (aside) => renameSync(aside, path));
}

/**
 * Makes a file that is not there; false, and nothing has changed, where it is. Another process sees the whole file or
 * none, and of two that make it at once one does. Throws FILE_UNWRITABLE.
 * @param mode as in chmod, less the umask
 */
export function makeFile(path: string, data: string | Uint8Array, mode: number): boolean {
  let isMade = true;
  writeAside(path, data, mode, (aside) => {
    try {
      linkSync(aside, path);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      isMade = false;
    }
  });
  return isMade;
}

/** Puts a file or a directory on disk: a new name outlasts a power cut only once its directory has been (fsync(2)). */
export function syncPath(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/**
 * Of the name under which a file is put aside until it is whole, the one that it then gets; of any other name itself. Where a
 * process was killed it stays, with what was written of it.
 */
export function destinationOf(path: string): string {
  return path.replace(/\.[0-9a-f]{12}\.partial$/, '');
}

// Nobody takes as long to write a file of ours.
const abandonedMs = 60_000;

/**
 * Removes what was being put aside in a directory when a process was killed, and is not any more. What cannot be removed
 * stays: the next start tries again.
 */
export function sweepPartial(directory: string): void {
  for (const name of namesIn(directory)) {
    const path = join(directory, name);
    if (destinationOf(name) === name) continue;
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats?.isFile() !== true || Date.now() - stats.mtimeMs < abandonedMs) continue;
    try {
      rmSync(path, { force: true });
    } catch {
      // Another process has it, or the directory is not ours to write to: who makes a file here is told that.
    }
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    // It is told by what is to be made or read there.
    return [];
  }
}

// Under a name that nobody can foresee: in a directory that others may write to, it could lead elsewhere.
function writeAside(
  path: string,
  data: string | Uint8Array | Iterable<string>,
  mode: number,
  place: (aside: string) => void,
): void {
  const aside = `${path}.${randomBytes(6).toString('hex')}.partial`;
  try {
    const file = openSync(aside, 'wx', mode);
    try {
      const pieces = typeof data === 'string' || data instanceof Uint8Array ? [data] : data;
      for (const piece of pieces) writeFileSync(file, piece);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    place(aside);
  } catch (cause) {
    throw new CscError('FILE_UNWRITABLE', `failed to write ${path}: ${explainFileError(cause, 'write')}`, {
      cause,
    });
  } finally {
    removeAside(aside);
  }
}

// Where it could not be made it often cannot be looked for either, and why it could not is what is to be told.
function removeAside(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // Whoever makes a file there a minute later sweeps it.
  }
}

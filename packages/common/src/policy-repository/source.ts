import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { artifactBytes } from '../encoding/index.ts';
import { readBoundedFile } from '../files/index.ts';
import type { RepositorySource } from './fetch.ts';

// What a repository serves: no segment begins with a dot, so that no name leads out of the folder.
const servedPath = /^(?:metadata|targets)(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*){1,3}$/;

/** True for the name of a file that a published repository may have. */
export function isServedPath(path: string): boolean {
  return path.length <= 300 && servedPath.test(path);
}

/**
 * A published repository in a folder: `csc policy publish` makes it, a gate serves it. Any other name is not there, nor
 * is what a symbolic link below the folder leads to: whoever may write there must not read the gate's own files.
 */
export function createDirectorySource(directory: string): RepositorySource {
  return {
    fetch: async (path) => {
      const file = join(directory, path);
      if (!isServedPath(path) || !isBelow(directory, path)) return undefined;
      return readBoundedFile(file, { maxBytes: artifactBytes.ownersFile, link: 'refuse' }).bytes;
    },
  };
}

// The folder itself may be reached by a link; nothing below it.
function isBelow(directory: string, path: string): boolean {
  try {
    return realpathSync(join(directory, path)) === join(realpathSync(directory), path);
  } catch {
    return false;
  }
}

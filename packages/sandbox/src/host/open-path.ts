import { closeSync, constants, fstatSync, openSync, readlinkSync, type Stats } from 'node:fs';
import { CscError } from '@csc-fleet/common/errors';

/** open(2): a handle on the file that neither reads nor writes it. Not in node:fs; the same on x86_64 and aarch64. */
export const O_PATH = 0o10000000;

/** A file or directory of the host, held by an O_PATH descriptor: what happens to its name later changes nothing. */
export interface OpenPath {
  readonly fd: number;
  /** Where it was when it was opened. */
  readonly source: string;
  readonly stats: Stats;
}

/**
 * Opens a path that was resolved a moment ago and makes sure that it is still the same: throws SCOPE_NOT_FOUND where
 * a symlink took the place of one of its parts meanwhile. `at` opens it by another name (below a descriptor).
 */
export function openResolved(source: string, at: string = source): OpenPath {
  let fd: number;
  try {
    fd = openSync(at, O_PATH | constants.O_NOFOLLOW);
  } catch (cause) {
    throw new CscError('SCOPE_NOT_FOUND', `${source} cannot be opened`, { cause });
  }
  try {
    if (readlinkSync(descriptorPath(fd)) !== source) {
      throw new CscError('SCOPE_NOT_FOUND', `${source} changed while it was being opened`);
    }
    return { fd, source, stats: fstatSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** A name of an open descriptor that other calls take: it leads to the file itself, wherever its path leads now. */
export function descriptorPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

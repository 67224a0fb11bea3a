import { spawnSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { posix } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import {
  descriptorPath,
  encodePath,
  lookOnHost,
  mayMake,
  mayWrite,
  openResolved,
  showPath,
  toolPath,
  withUmask,
} from '../host/index.ts';
import type { RunFacts } from './facts.ts';

/**
 * Throws SCOPE_NOT_FOUND where `path`, whose parent is there and free of symlinks, certainly cannot be created: so that
 * it is refused before anything is redeemed for it. What only the try can tell is left to that.
 */
export function checkCreatable(path: string, facts: RunFacts): void {
  const parent = posix.dirname(path);
  try {
    const stats = statSync(encodePath(parent));
    // A symlink that leads nowhere, or what is closed to the executor.
    if (!stats.isDirectory() || lookOnHost(path) !== undefined) throw new Error(`${path} is in the way`);
    // Says so of a file system that is read-only, to root too (access(2)).
    accessSync(encodePath(parent), constants.W_OK);
    const asJobUser = facts.executorUid !== facts.jobUser.uid && mayWrite(stats, facts.jobUsers);
    if (asJobUser && !mayMake(stats, facts.jobUser)) throw new Error('the job user may not write there');
  } catch (cause) {
    throw cannotCreate(path, cause);
  }
}

/**
 * Creates `path`, owned by the job user, in a parent that is free of symlinks. In a parent that jobs can write, a
 * directory is created with the job user's rights alone: there, root's could be turned against another directory.
 */
export function makeWritePath(path: string, kind: 'file' | 'directory', facts: RunFacts): void {
  const parent = openResolved(posix.dirname(path));
  try {
    const create =
      kind === 'file' ? createFile(facts) : chooseCreate(mayWrite(parent.stats, facts.jobUsers), facts);
    create(parent.fd, posix.basename(path));
  } catch (cause) {
    throw cannotCreate(path, cause);
  } finally {
    closeSync(parent.fd);
  }
}

function cannotCreate(path: string, cause: unknown): CscError {
  return new CscError(
    'SCOPE_NOT_FOUND',
    `write path ${showPath(path)} does not exist and cannot be created`,
    {
      cause,
    },
  );
}

function chooseCreate(writableByJobs: boolean, facts: RunFacts): (parent: number, name: string) => void {
  const { uid, gid } = facts.jobUser;
  // Under a pool, the group of the next run's user must be able to write it, and have what others put there (setgid).
  const mode = (0o777 & ~facts.umask) | (facts.jobUsers.pooled ? 0o2000 : 0);
  if (facts.executorUid === uid)
    return (parent, name) =>
      withUmask(facts.umask, () => mkdirSync(posix.join(descriptorPath(parent), name)));
  if (writableByJobs) return (parent, name) => createAsJobUser(parent, name, { uid, gid, mode });
  return (parent, name) => {
    const path = posix.join(descriptorPath(parent), name);
    mkdirSync(path, { mode: 0o700 });
    lchownSync(path, uid, gid);
    // After the owner, as a change of that takes the setgid bit away (chown(2)).
    chmodSync(path, mode);
  };
}

// When a file was changed that nobody has written yet; whoever writes it or empties it sets that anew (open(2), O_TRUNC).
const neverWritten = 0;

/**
 * Takes an empty file away again that `makeWritePath` made and nobody has written: else an output that is missing would
 * look like one that is empty. Says nothing where that cannot be.
 */
export function takeBackUnwritten(path: string): void {
  try {
    const parent = openResolved(posix.dirname(path));
    try {
      const at = posix.join(descriptorPath(parent.fd), posix.basename(path));
      const { size, mtimeMs, nlink } = lstatSync(at);
      if (size === 0 && mtimeMs === neverWritten && nlink === 1) unlinkSync(at);
    } finally {
      closeSync(parent.fd);
    }
  } catch {
    // It is gone, or its directory is: there is nothing to take back.
  }
}

// Its owner and mode are set by its descriptor, so that they can go to no other file, whoever can write the parent.
function createFile(facts: RunFacts): (parent: number, name: string) => void {
  const { uid, gid } = facts.jobUser;
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  return (parent, name) => {
    const path = posix.join(descriptorPath(parent), name);
    const fd = openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
    try {
      if (facts.executorUid !== uid) fchownSync(fd, uid, gid);
      fchmodSync(fd, 0o666 & ~facts.umask);
      futimesSync(fd, neverWritten, neverWritten);
    } finally {
      closeSync(fd);
    }
  };
}

function createAsJobUser(
  parent: number,
  name: string,
  { uid, gid, mode }: { readonly uid: number; readonly gid: number; readonly mode: number },
): void {
  const { status, error } = spawnSync(
    'mkdir',
    ['-m', mode.toString(8), '--', `${descriptorPath(3)}/${name}`],
    {
      uid,
      gid,
      cwd: '/',
      env: { PATH: toolPath },
      stdio: ['ignore', 'ignore', 'ignore', parent],
    },
  );
  if (status !== 0) throw error ?? new Error(`the job user may not write there (mkdir: ${status})`);
}

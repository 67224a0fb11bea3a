import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, lchownSync, mkdirSync } from 'node:fs';
import { posix } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { descriptorPath, mayWrite, openResolved, toolPath } from '../host/index.ts';
import type { RunFacts } from './facts.ts';

/**
 * Creates the directory `path`, owned by the job user, in a parent that is free of symlinks. In a parent that jobs can
 * write, it is created with the job user's rights alone: there, root's could be turned against another directory.
 */
export function createWritePath(path: string, facts: RunFacts): void {
  const parent = openResolved(posix.dirname(path));
  try {
    const create = chooseCreate(mayWrite(parent.stats, facts.jobUsers), facts);
    create(parent.fd, posix.basename(path));
  } catch (cause) {
    throw new CscError('SCOPE_NOT_FOUND', `write path ${path} does not exist and cannot be created`, {
      cause,
    });
  } finally {
    closeSync(parent.fd);
  }
}

function chooseCreate(writableByJobs: boolean, facts: RunFacts): (parent: number, name: string) => void {
  const { uid, gid } = facts.jobUser;
  // Under a pool, the group of the next run's user must be able to write it, and have what others put there (setgid).
  const mode = facts.jobUsers.pooled ? 0o2775 : 0o755;
  if (facts.executorUid === uid) return (parent, name) => mkdirSync(posix.join(descriptorPath(parent), name));
  if (writableByJobs) return (parent, name) => createAsJobUser(parent, name, { uid, gid, mode });
  return (parent, name) => {
    const path = posix.join(descriptorPath(parent), name);
    mkdirSync(path, { mode: 0o700 });
    lchownSync(path, uid, gid);
    // After the owner, as a change of that takes the setgid bit away (chown(2)).
    chmodSync(path, mode);
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

import { spawnSync } from 'node:child_process';
import { closeSync, lchownSync, mkdirSync } from 'node:fs';
import { posix } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import type { HostFacts } from './host-facts.ts';
import { mayWrite } from './job-access.ts';
import { descriptorPath, openResolved } from './open-path.ts';

/**
 * Creates the directory `path`, owned by the job user, in a parent that is free of symlinks. In a parent that jobs can
 * write, it is created with the job user's rights alone: there, root's could be turned against another directory.
 */
export function createWritePath(path: string, facts: HostFacts): void {
  const parent = openResolved(posix.dirname(path));
  try {
    const create = chooseCreate(mayWrite(parent.stats, facts.jobUser), facts);
    create(parent.fd, posix.basename(path));
  } catch (cause) {
    throw new CscError('FILE_UNREADABLE', `write path ${path} does not exist and cannot be created`, {
      cause,
    });
  } finally {
    closeSync(parent.fd);
  }
}

function chooseCreate(writableByJobs: boolean, facts: HostFacts): (parent: number, name: string) => void {
  const { uid, gid } = facts.jobUser;
  if (facts.executorUid === uid) return (parent, name) => mkdirSync(posix.join(descriptorPath(parent), name));
  if (writableByJobs) return (parent, name) => createAsJobUser(parent, name, uid, gid);
  return (parent, name) => {
    const path = posix.join(descriptorPath(parent), name);
    mkdirSync(path, { mode: 0o755 });
    lchownSync(path, uid, gid);
  };
}

function createAsJobUser(parent: number, name: string, uid: number, gid: number): void {
  const { status, error } = spawnSync('mkdir', ['-m', '755', '--', `${descriptorPath(3)}/${name}`], {
    uid,
    gid,
    cwd: '/',
    env: { PATH: '/usr/bin:/bin' },
    stdio: ['ignore', 'ignore', 'ignore', parent],
  });
  if (status !== 0) throw error ?? new Error(`the job user may not write there (mkdir: ${status})`);
}

import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { takeLock } from '@csc-fleet/common/database';
import { CscError } from '@csc-fleet/common/errors';
import { explainFileError, makeDirectory } from '@csc-fleet/common/files';
import { endProcessesOf } from './processes.ts';
import type { JobUsers } from './run-as.ts';

/** Where it says which users are taken: of root, and empty after a restart of the host. */
const defaultDirectory = '/run/csc-job-users';

/**
 * Makes this process the only executor of a pool's users on this host, and ends what is left of them: an executor that
 * was killed cannot have ended it. Throws CONFIG_INVALID where another executor has one of them, SANDBOX_UNAVAILABLE
 * where a process of theirs does not end, FILE_UNWRITABLE.
 */
export async function lockJobUsers(
  { all }: JobUsers,
  directory: string = defaultDirectory,
): Promise<InstanceLock> {
  makeLockDirectory(directory);
  const locks: DatabaseSync[] = [];
  const release = (): void => {
    for (const lock of locks.splice(0)) lock.close();
  };
  try {
    for (const { uid } of all) locks.push(lock(join(directory, String(uid)), takenMessage(uid)));
    if ((await endProcessesOf(new Set(all.map(({ uid }) => uid)))) !== undefined) return { release };
    throw new CscError('SANDBOX_UNAVAILABLE', 'users of the pool in run_as have processes that do not end');
  } catch (error) {
    release();
    throw error;
  }
}

function makeLockDirectory(directory: string): void {
  makeDirectory(directory, { mode: 0o700 });
  try {
    chmodSync(directory, 0o700);
  } catch (cause) {
    throw new CscError(
      'FILE_UNWRITABLE',
      `failed to close ${directory} to others: ${explainFileError(cause)}`,
      {
        cause,
      },
    );
  }
}

/** Held for as long as a process is the one executor of its state directory. */
export interface InstanceLock {
  release(): void;
}

/**
 * Makes this process the only executor of a state directory. Throws CONFIG_INVALID where another process
 * holds its lock, FILE_UNWRITABLE where this user cannot.
 * @param taken what to say then. Absent: what another executor is told
 */
export function lockStateDirectory(
  stateDir: string,
  taken = `another executor uses ${stateDir}: give each its own state_dir, or stop the other one`,
): InstanceLock {
  const database = lock(join(stateDir, 'instance.lock'), taken);
  return { release: () => database.close() };
}

function takenMessage(uid: number): string {
  return `another executor on this host gives uid ${uid} to its jobs: give each a pool of its own, or stop the other one`;
}

function lock(path: string, taken: string): DatabaseSync {
  try {
    return takeLock(path, 0);
  } catch (cause) {
    if (cause instanceof CscError) throw cause;
    throw new CscError('CONFIG_INVALID', taken, { cause });
  }
}

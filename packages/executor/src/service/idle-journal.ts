import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { lockStateDirectory } from '@csc-fleet/sandbox/host';
import { journalFile } from '../journal/index.ts';

/**
 * Does something with the journal of an executor that is not running, and lets none run meanwhile. Throws FILE_UNREADABLE where
 * there is none, and CONFIG_INVALID where an executor runs, or another user owns it.
 * @param act is given its path
 */
export async function withIdleJournal<T>(stateDir: string, act: (path: string) => Promise<T>): Promise<T> {
  const path = join(stateDir, journalFile);
  if (!existsSync(path))
    throw new CscError(
      'FILE_UNREADABLE',
      `there is no ${path}: the executor makes it at its start, with an epoch of its own`,
    );
  // SQLite would leave files there that the executor cannot write.
  if (statSync(path).uid !== process.geteuid?.())
    throw new CscError('CONFIG_INVALID', `${path} belongs to another user: run this as that one`);
  const lock = lockStateDirectory(stateDir);
  try {
    return await act(path);
  } finally {
    lock.release();
  }
}

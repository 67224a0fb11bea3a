import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { lockStateDirectory } from '@csc-fleet/sandbox/host';
import { journalFile, openSqliteJournal } from '../journal/index.ts';

/** The epochs of a journal, each 16 bytes in lower-case hex. */
export interface EpochChange {
  readonly before: string;
  readonly after: string;
}

/**
 * Begins a new epoch of an executor that is not running: for who has restored its state directory, with all that would show
 * that it is older than it was. Tickets and submissions of before are refused from then on, and its chain begins anew at 1,
 * beside the receipts that are kept. Throws FILE_UNREADABLE where there is no journal, which would be new by itself, and
 * CONFIG_INVALID where an executor runs, or another user owns it.
 */
export async function beginNewEpoch(stateDir: string): Promise<EpochChange> {
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
    const journal = openSqliteJournal(path);
    try {
      const before = journal.epoch;
      await journal.beginEpoch();
      return { before, after: journal.epoch };
    } finally {
      await journal.close();
    }
  } finally {
    lock.release();
  }
}

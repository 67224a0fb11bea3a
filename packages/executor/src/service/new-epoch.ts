import { join } from 'node:path';
import { type Clock, systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { archiveDirectory, findLostTime } from '../archive/index.ts';
import { type Journal, openSqliteJournal } from '../journal/index.ts';
import { withIdleJournal } from './idle-journal.ts';

/** The epochs of a journal, each 16 bytes in lower-case hex. */
export interface EpochChange {
  readonly before: string;
  readonly after: string;
  /** What was minted or submitted before is refused. */
  readonly bornAt: Date;
}

/**
 * Begins a new epoch of an executor that is not running: for who has restored its state directory, with all that would show
 * that it is older than it was. Tickets and submissions of before are refused from then on, and its chain begins anew at 1,
 * beside the receipts that are kept. What it takes for running gets no receipt: it may have had one in the time that is
 * forgotten. Throws FILE_UNREADABLE where there is no journal, which would be new by itself, and CONFIG_INVALID where an
 * executor runs, another user owns it, or the clock is behind what this host has signed.
 */
export async function beginNewEpoch(stateDir: string, clock: Clock = systemClock): Promise<EpochChange> {
  return withIdleJournal(stateDir, (path) => beginEpochOf(path, join(stateDir, archiveDirectory), clock));
}

/** The same of a journal that nobody else uses, wherever it lies. */
export async function beginEpochOf(path: string, archive: string, clock: Clock): Promise<EpochChange> {
  const journal = openSqliteJournal(path, { clock });
  try {
    const before = journal.epoch;
    checkClock(journal, archive, clock.now());
    await journal.beginEpoch({ ended: 'all' });
    return { before, after: journal.epoch, bornAt: journal.bornAt() };
  } finally {
    await journal.close();
  }
}

// A machine that was set back to a snapshot often has the clock of that time until somebody sets it. What was submitted
// between then and now would count as younger than the new epoch.
function checkClock(journal: Pick<Journal, 'bornAt'>, archive: string, now: Date): void {
  const { signedUntil } = findLostTime(archive, []);
  const latest = Math.max(journal.bornAt().getTime(), signedUntil?.getTime() ?? 0);
  if (now.getTime() >= latest) return;
  throw new CscError(
    'CONFIG_INVALID',
    `the clock of this host says ${now.toISOString()}, and it has signed until ${new Date(latest).toISOString()}: set it right first (timedatectl); where it was wrong then, give the executor a new state_dir`,
  );
}

import { errorCode } from '@csc-fleet/common/database';
import { CscError } from '@csc-fleet/common/errors';

/** What an error of the database's becomes: nothing runs that cannot be journalled. */
export function storeUnavailable(cause: unknown): CscError {
  const why =
    (errorCode(cause) & 0xff) === cannotOpen
      ? 'cannot be opened: look at its disk, and whether the executor has file descriptors left (LimitNOFILE)'
      : 'cannot be written: look at its disk';
  return new CscError('STORE_UNAVAILABLE', `this host's journal ${why}`, { cause });
}

// SQLITE_CANTOPEN (https://sqlite.org/rescode.html): EMFILE comes as this.
const cannotOpen = 14;

/** Any other error is the caller's own, as it was thrown. */
export function toJournalError(error: unknown): unknown {
  const isOfDatabase = error instanceof Error && 'code' in error && error.code === 'ERR_SQLITE_ERROR';
  return isOfDatabase ? storeUnavailable(error) : error;
}

import { errorCode, movedCode } from '@csc-fleet/common/database';
import { CscError } from '@csc-fleet/common/errors';

/** What an error of the database's becomes: nothing runs that cannot be journalled. */
export function storeUnavailable(cause: unknown): CscError {
  const code = errorCode(cause);
  const why = reasons.get(code) ?? reasons.get(code & 0xff) ?? 'cannot be written: look at its disk';
  return new CscError('STORE_UNAVAILABLE', `this host's journal ${why}`, { cause });
}

// Result codes, most of them primary ones, https://sqlite.org/rescode.html.
const reasons = new Map([
  [
    movedCode,
    'was moved or deleted, or something was mounted over it: put it back as it was, and this host goes on by itself; or restart the executor, which then begins with what is there',
  ],
  [8, 'cannot be written: look at its disk, its file system is read-only'], // SQLITE_READONLY
  // A file system that became read-only while the journal was open comes as this.
  [10, 'cannot be written: look at its disk, which has an I/O error or is read-only'], // SQLITE_IOERR
  [13, 'cannot be written: look at its disk, which is full'], // SQLITE_FULL
  // EMFILE comes as this.
  [
    14,
    'cannot be opened: look at its disk, and whether the executor has file descriptors left (LimitNOFILE)',
  ], // SQLITE_CANTOPEN
]);

/** Any other error is the caller's own, as it was thrown. */
export function toJournalError(error: unknown): unknown {
  const isOfDatabase = error instanceof Error && 'code' in error && error.code === 'ERR_SQLITE_ERROR';
  return isOfDatabase ? storeUnavailable(error) : error;
}

import { setTimeout as delay } from 'node:timers/promises';
import { errorCode, movedCode } from '@csc-fleet/common/database';
import { CscError, isCscError } from '@csc-fleet/common/errors';

// Result codes (https://www.sqlite.org/rescode.html), most of them primary ones, that pass when somebody makes room, or
// that a later try may not meet. After any of them the transaction is undone and the database is as it was.
const passing = new Map<number, string>([
  [movedCode, 'its database was moved or deleted, or something was mounted over it'],
  [5, 'another process uses it'], // SQLITE_BUSY
  [6, 'another process uses it'], // SQLITE_LOCKED
  [7, 'there is no memory left'], // SQLITE_NOMEM
  [8, 'its file system is read-only'], // SQLITE_READONLY
  [10, 'its disk has an I/O error or became read-only, or its quota is used up'], // SQLITE_IOERR
  [13, 'its disk is full'], // SQLITE_FULL
  [14, 'its files cannot be opened'], // SQLITE_CANTOPEN
]);

/** Milliseconds after which a caller may try again. */
export const storeRetryMs = 1_000;

/**
 * What a write that did not reach the disk is refused with. With `retryAfterMs`: it will be taken once the cause is
 * gone, without a restart. Without: this store takes nothing any more.
 */
export function toStoreError(cause: unknown): CscError {
  const why = whyRefused(cause);
  if (why === undefined)
    return new CscError(
      'STORE_UNAVAILABLE',
      'the store in data_dir cannot be relied on any more: look at its disk',
      {
        cause,
      },
    );
  const message = `the gate's data_dir takes no writes, and nothing was recorded: ${why}. Its operator must ${remedyOf(cause)}`;
  return new CscError('STORE_UNAVAILABLE', message, { cause, retryAfterMs: storeRetryMs });
}

// What is deleted is not to be had again: the next gate begins with a backup, or with nothing.
function remedyOf(cause: unknown): string {
  return errorCode(cause) === movedCode
    ? 'put it back as it was, and the gate goes on by itself; or stop the gate, and restore a backup'
    : 'make room there; it goes on by itself then';
}

/** What of SQLite's errors passes, for people; undefined for any other. */
export function whyRefused(cause: unknown): string | undefined {
  const code = errorCode(cause);
  return passing.get(code) ?? passing.get(code & 0xff);
}

/** True where another process has the store or its lock (SQLITE_BUSY, SQLITE_LOCKED). */
export function isLocked(cause: unknown): boolean {
  return [5, 6].includes(errorCode(cause) & 0xff);
}

/** True where the store takes no writes now, and will again: nothing has changed, and the same may be asked for again. */
export function isStoreBusy(error: unknown): error is CscError & { readonly retryAfterMs: number } {
  return isCscError(error, 'STORE_UNAVAILABLE') && error.retryAfterMs !== undefined;
}

/**
 * Does `work`, again and again for as long as the store takes no writes: for what has happened on a host, which nobody
 * can take back. Rejects with any other error, and with STORE_UNAVAILABLE once `gone` has fired.
 * @param onWait is called before each time that it waits
 */
export async function patiently<T>(
  work: () => Promise<T>,
  gone?: AbortSignal,
  onWait: () => void = () => undefined,
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isStoreBusy(error) || gone?.aborted === true) throw error;
      onWait();
      await pause(error.retryAfterMs, gone);
    }
  }
}

async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { ref: false, ...(signal === undefined ? {} : { signal }) }).catch(
    () => undefined,
  );
}

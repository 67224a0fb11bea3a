import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CscError } from '@csc-fleet/common/errors';
import { makeDirectory } from '@csc-fleet/common/files';

const patienceMs = 10_000;
const betweenMs = 5;
// SQLITE_BUSY.
const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && error.errcode === 5;

/**
 * Acts while no other process acts on the same file: each reads what the one before has written. The lock is SQLite's on a file
 * beside it, which the kernel takes back from a process that dies. Where there can be none, nothing can be written either, and it
 * acts without. Throws STORE_UNAVAILABLE where another one does not end, and what `act` throws.
 */
export async function exclusively<T>(file: string, act: () => T | Promise<T>): Promise<T> {
  const leave = await enter(`${file}.lock`);
  try {
    return await act();
  } finally {
    leave();
  }
}

async function enter(path: string): Promise<() => void> {
  const { DatabaseSync } = await import('node:sqlite');
  let lock: InstanceType<typeof DatabaseSync>;
  try {
    makeDirectory(dirname(path), { mode: 0o700 });
    lock = new DatabaseSync(path, { timeout: 0 });
  } catch {
    return () => undefined;
  }
  const late = performance.now() + patienceMs;
  for (;;) {
    try {
      // Nothing is ever written to it, and so no journal is.
      lock.exec('PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE;');
      return () => lock.close();
    } catch (cause) {
      if (isBusy(cause) && performance.now() < late) {
        await sleep(betweenMs);
        continue;
      }
      lock.close();
      if (!isBusy(cause)) return () => undefined;
      const message = `another csc holds ${path}, and does not end`;
      throw new CscError('STORE_UNAVAILABLE', message, { cause });
    }
  }
}

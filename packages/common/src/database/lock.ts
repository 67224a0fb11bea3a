import { accessSync, constants } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { CscError } from '../errors/index.ts';
import { explainFileError } from '../files/index.ts';

/**
 * Opens the file of a lock, which is made where it is not there. Nothing is locked before `takeLock`, or its statement, is
 * called. Throws what SQLite throws, and FILE_UNWRITABLE where this user may not write the file: SQLite opens it for reading
 * then, and locks of readers keep nobody out.
 */
export function openLock(path: string, waitMs: number): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: waitMs });
  try {
    accessSync(path, constants.W_OK);
    return database;
  } catch (cause) {
    database.close();
    const why = explainFileError(cause);
    const message = `failed to lock ${path}: ${why}; it has to belong to who runs this (another user, such as root, may have made it)`;
    throw new CscError('FILE_UNWRITABLE', message, { cause });
  }
}

// Nothing is ever written to it, and so no journal is: a full disk must not look like another process.
export const lockStatement = 'PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE;';

/**
 * Keeps every other process from taking the same lock until what it gives is closed. It is SQLite's, on a file of its own: the
 * system takes it back when the process ends, however it ends. Throws what `openLock` throws; SQLITE_BUSY where another process
 * has it after `waitMs`.
 */
export function takeLock(path: string, waitMs: number): DatabaseSync {
  const database = openLock(path, waitMs);
  try {
    database.exec(lockStatement);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

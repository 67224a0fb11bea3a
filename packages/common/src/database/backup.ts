import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { CscError } from '../errors/index.ts';
import { explainFileError, makeDirectory, makeFile, syncPath } from '../files/index.ts';
import { checkDatabase, damagedMark, prepareDatabaseFile, restoringMark } from './database.ts';

/** What of a service's directory goes into a backup. */
export interface BackedUp {
  readonly directory: string;
  /** Name of the database in it. */
  readonly database: string;
  /** Files and directories beside it, where they are there. */
  readonly others: readonly string[];
  /** Command of csc that restores it. */
  readonly restore: string;
}

// All pages in one step: a writer in another process would have it begin again after each.
const allPages = 2 ** 30;

/**
 * Copies a service's database, as it is at one moment and also while the service runs, and what stands beside it. The
 * copy is whole, or there is none under that name. Throws FILE_UNREADABLE, FILE_UNWRITABLE, STORE_UNAVAILABLE.
 * @param to a directory that is not there yet; it has keys in it, and is for its owner alone
 */
export async function backUp({ directory, database, others, restore }: BackedUp, to: string): Promise<void> {
  const path = join(directory, database);
  if (!existsSync(path)) throw new CscError('FILE_UNREADABLE', `there is no ${path} to back up`);
  if (existsSync(to)) throw new CscError('FILE_UNWRITABLE', `${to} is there already: name a new directory`);
  const partial = `${to}.partial`;
  rmSync(partial, { recursive: true, force: true });
  makeDirectory(dirname(partial));
  try {
    // Made here and now: one that somebody else has made meanwhile, where everybody may (/tmp), would have the keys.
    mkdirSync(partial, { mode: 0o700 });
  } catch (cause) {
    throw unwritable(partial, cause);
  }
  try {
    await copyDatabase(path, join(partial, database), restore);
    for (const name of others) copyOther(join(directory, name), join(partial, name));
    for (const name of readdirSync(partial)) syncPath(join(partial, name));
    syncPath(partial);
    renameSync(partial, to);
  } catch (cause) {
    rmSync(partial, { recursive: true, force: true });
    throw cause instanceof CscError ? cause : unwritable(to, cause);
  }
}

async function copyDatabase(path: string, copy: string, restore: string): Promise<void> {
  prepareDatabaseFile({ path, restore });
  const source = new DatabaseSync(path, { readOnly: true, timeout: 10_000 });
  try {
    await backup(source, copy, { rate: allPages });
  } finally {
    source.close();
  }
  check(copy, restore);
}

// Opened for writing, so that nothing of SQLite's stays beside it.
function check(path: string, restore: string): void {
  const database = new DatabaseSync(path);
  try {
    checkDatabase(database, { path, restore });
  } finally {
    database.close();
  }
}

/** What a service has its own way of. */
export interface RestoreSteps {
  /** Keeps the service from running until what it gives is called. Throws CONFIG_INVALID where it runs, FILE_UNWRITABLE. */
  readonly lock: () => () => void;
  /** Makes of the copy of the database what the service is to begin with, before it is in its place. */
  readonly prepare: (path: string) => Promise<void>;
}

/**
 * Puts a backup in the place of what is left of a service's directory. The backup is looked at first; what was there of
 * the database goes into a directory `replaced-…` beside it, other files that are there stay as they are, and a restore
 * that is cut off leaves a database that no service opens until it is done again. A directory that is not there is made.
 * Throws FILE_UNREADABLE where that is no backup, CONFIG_INVALID where the directory is another user's, STORE_UNAVAILABLE
 * where the backup is damaged, FILE_UNWRITABLE.
 * @returns the directory `replaced-…`; undefined where there was no database
 */
export async function restoreBackup(
  { directory, database, others, restore }: BackedUp,
  from: string,
  { lock, prepare }: RestoreSteps,
): Promise<string | undefined> {
  makeDirectory(directory, { mode: 0o700 });
  // The service could not read what another user restores, nor take a lock that another user has made.
  const { uid } = statSync(directory);
  if (uid !== process.geteuid?.())
    throw new CscError(
      'CONFIG_INVALID',
      `${directory} belongs to another user (uid ${uid}): run this as that one (runuser -u NAME -- csc restore …)`,
    );
  if (!existsSync(join(from, database)))
    throw new CscError('FILE_UNREADABLE', `there is no ${join(from, database)}: is that a backup of csc?`);
  const release = lock();
  try {
    return await putInPlace({ directory, database, others, restore }, from, prepare);
  } finally {
    release();
  }
}

async function putInPlace(
  { directory, database, others, restore }: BackedUp,
  from: string,
  prepare: RestoreSteps['prepare'],
): Promise<string | undefined> {
  const path = join(directory, database);
  const saved = join(from, database);
  const aside = mkdtempSync(join(directory, 'restore-'));
  try {
    const copy = join(aside, database);
    prepareDatabaseFile({ path: saved, restore });
    cpSync(saved, copy);
    check(copy, restore);
    for (const name of others)
      if (!existsSync(join(directory, name))) copyOther(join(from, name), join(directory, name));
    await prepare(copy);
    syncPath(copy);
    makeFile(`${path}${restoringMark}`, `${restore}\n`, 0o600);
    const replaced = setAside(directory, database);
    renameSync(copy, path);
    syncPath(directory);
    rmSync(`${path}${damagedMark}`, { force: true });
    rmSync(`${path}${restoringMark}`);
    syncPath(directory);
    return replaced;
  } catch (cause) {
    throw cause instanceof CscError ? cause : unwritable(path, cause);
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

function setAside(directory: string, database: string): string | undefined {
  const names = [database, `${database}-wal`, `${database}-shm`].filter((it) =>
    existsSync(join(directory, it)),
  );
  if (names.length === 0) return undefined;
  const replaced = mkdtempSync(join(directory, 'replaced-'));
  for (const name of names) linkSync(join(directory, name), join(replaced, name));
  syncPath(replaced);
  for (const name of names) rmSync(join(directory, name));
  return replaced;
}

function copyOther(from: string, to: string): void {
  if (!existsSync(from)) return;
  if (statSync(from).isDirectory()) mkdirSync(to, { mode: 0o700 });
  cpSync(from, to, { recursive: true, preserveTimestamps: true });
}

function unwritable(path: string, cause: unknown): CscError {
  return new CscError('FILE_UNWRITABLE', `failed to write ${path}: ${explainFileError(cause, 'write')}`, {
    cause,
  });
}

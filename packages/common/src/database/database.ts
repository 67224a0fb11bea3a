import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CscError } from '../errors/index.ts';
import { explainFileError, makeFile, readBoundedFile } from '../files/index.ts';

/** Which database it is, for people who have to mend it. */
export interface DatabaseFile {
  readonly path: string;
  /** How it is restored: a command of csc. */
  readonly restore: string;
}

/**
 * Looks at a database file before SQLite does, which takes an empty file for a new database, and so for one that has
 * forgotten everything. Where there is none, a new one is made, whole or not at all: a process that is killed meanwhile
 * leaves no empty file. Throws STORE_UNAVAILABLE for one that is damaged, FILE_UNWRITABLE.
 */
export function prepareDatabaseFile(file: DatabaseFile): void {
  const { path } = file;
  if (existsSync(`${path}${restoringMark}`)) throw damaged(file, 'a restore of it was cut off');
  const bytes = sizeOf(path);
  if (bytes === undefined) {
    if ((sizeOf(`${path}-wal`) ?? 0) > 0)
      throw damaged(file, 'it is gone, and what was last written to it is there');
    makeFile(path, emptyDatabase(path), 0o600);
  } else if (bytes === 0) throw damaged(file, 'it is empty, which it never is by itself');
}

/** Behind the name of a database while a restore puts another in its place. */
export const restoringMark = '.restoring';

/** Reads all of a database that was opened. Throws STORE_UNAVAILABLE where it is torn, and what SQLite throws else. */
export function checkDatabase(database: DatabaseSync, file: DatabaseFile): void {
  whole(file, () => {
    const [row] = database.prepare('PRAGMA quick_check(1)').all();
    const found = String(row?.['quick_check']);
    if (found !== 'ok') throw damaged(file, found);
  });
}

// What takes about 10 ms.
const checkedAtOnce = 16 * 1024 * 1024;
/** Behind the name of a database that was found damaged while it was in use: the next to open it reads all of it first. */
export const damagedMark = '.damaged';

/**
 * Reads all of a database that was opened, where that takes no time; otherwise what SQLite reads of it by itself, which finds
 * one that was cut off or overwritten in its beginning. Throws as `checkDatabase` does.
 * @returns whether it is yet to be read whole, by `checkMeanwhile`
 */
export function checkBeginning(database: DatabaseSync, file: DatabaseFile): boolean {
  const mark = `${file.path}${damagedMark}`;
  const isMarked = existsSync(mark);
  if (!isMarked && (sizeOf(file.path) ?? 0) > checkedAtOnce) {
    whole(file, () => database.prepare('SELECT count(*) FROM sqlite_schema').all());
    return true;
  }
  checkDatabase(database, file);
  if (isMarked) rmSync(mark);
  return false;
}

// 3: it is damaged. Anything else that is no 0 says nothing of it, as that it is locked.
const checking = `
  const { DatabaseSync } = require('node:sqlite');
  try {
    const database = new DatabaseSync(process.argv[1], { readOnly: true, timeout: 10_000 });
    const found = String(database.prepare('PRAGMA quick_check(1)').get().quick_check);
    if (found !== 'ok') process.exitCode = 3;
  } catch (error) {
    process.exitCode = [11, 26].includes(error.errcode & 0xff) ? 3 : 1;
  }`;

// Everybody comes back to a service that has just started, and this reads at the cost of all of them.
const checkedAfterMs = 5000;

/**
 * Reads all of a database that is in use, soon, in a process of its own that comes after all others: it is large, and whoever
 * reads it cannot be interrupted. Where it is damaged, that is marked, so that it is not opened again as it is.
 * @param onDamaged is told then; not where it is whole, or that cannot be told
 * @returns ends that
 */
export function checkMeanwhile(file: DatabaseFile, onDamaged: (error: CscError) => void): () => void {
  let child: ChildProcess | undefined;
  const timer = setTimeout(() => {
    child = startCheck(file, onDamaged);
  }, checkedAfterMs).unref();
  return () => {
    clearTimeout(timer);
    child?.kill('SIGKILL');
  };
}

function startCheck(file: DatabaseFile, onDamaged: (error: CscError) => void): ChildProcess {
  const child = spawn(process.execPath, ['--no-warnings', '-e', checking, file.path], {
    stdio: 'ignore',
    env: {},
  });
  child.unref();
  child.on('error', () => undefined);
  if (child.pid !== undefined) comeLast(child.pid);
  child.on('exit', (code) => {
    if (code !== 3) return;
    try {
      makeFile(`${file.path}${damagedMark}`, `${file.restore}\n`, 0o600);
    } finally {
      const { path, restore } = file;
      const what = `${path} is torn or overwritten further inside than what is read at the start`;
      const message = `${what}. Look at its disk, and restore it from a backup: ${restore}`;
      onDamaged(new CscError('STORE_UNAVAILABLE', message));
    }
  });
  return child;
}

function comeLast(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_LOW);
  } catch {
    // It is over, or we may not: it then comes as others do.
  }
}

/** Does what opens a database; STORE_UNAVAILABLE with how to restore it where SQLite finds that it is none. */
export function whole<T>(file: DatabaseFile, open: () => T): T {
  try {
    return open();
  } catch (error) {
    const why = damageCodes.get(primaryCode(error));
    throw why === undefined ? error : damaged(file, why, error);
  }
}

// Primary result codes, https://www.sqlite.org/rescode.html; node:sqlite gives the extended code, whose lowest byte it is.
const damageCodes = new Map([
  [11, 'it is torn or overwritten'], // SQLITE_CORRUPT
  [26, 'it is no database, or its beginning is overwritten'], // SQLITE_NOTADB
]);

function primaryCode(error: unknown): number {
  const code = typeof error === 'object' && error !== null && 'errcode' in error ? error.errcode : undefined;
  return typeof code === 'number' ? code & 0xff : 0;
}

function damaged({ path, restore }: DatabaseFile, why: string, cause?: unknown): CscError {
  const message = `${path} is damaged, and nothing was changed: ${why}. Look at its disk, and restore it from a backup: ${restore}`;
  return new CscError('STORE_UNAVAILABLE', message, { cause });
}

function sizeOf(path: string): number | undefined {
  try {
    return existsSync(path) ? statSync(path).size : undefined;
  } catch (cause) {
    throw new CscError('FILE_UNREADABLE', `failed to look at ${path}: ${explainFileError(cause)}`, { cause });
  }
}

// One page, beside the place that it is for: another directory may not be writable for a service.
function emptyDatabase(path: string): Uint8Array {
  const directory = newDirectory(`${path}.new-`);
  try {
    const file = join(directory, 'empty');
    const database = new DatabaseSync(file);
    database.exec('PRAGMA page_size=4096; PRAGMA application_id=0x63736300;');
    database.close();
    return readBoundedFile(file, { maxBytes: 1024 * 1024, link: 'refuse' }).bytes;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function newDirectory(prefix: string): string {
  try {
    return mkdtempSync(prefix);
  } catch (cause) {
    const why = explainFileError(cause, 'write');
    throw new CscError('FILE_UNWRITABLE', `nothing can be put into ${dirname(prefix)}: ${why}`, { cause });
  }
}

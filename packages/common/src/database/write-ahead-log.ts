import { closeSync, fdatasync, fdatasyncSync, openSync, statSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import type { Worker } from 'node:worker_threads';
import { DatabasePlace, MovedError } from './place.ts';

// 16 MiB, of which few pages differ: a checkpoint writes each of those once.
const longPages = 4096;
// What of its file is kept for the next: a reader that stays, as a backup, has it grow for as long.
const keptBytes = (longPages + 512) * 4096;
// To ask how long the log is takes microseconds.
const commitsBetweenLooks = 32;

/** For tests: what puts a file's bytes on disk. */
export type SyncFile = (file: number) => Promise<void>;

const syncFile: SyncFile = (file) =>
  new Promise((resolve, reject) => {
    fdatasync(file, (error) => (error === null ? resolve() : reject(error)));
  });

/**
 * The write-ahead log of a database, whose COMMIT does not wait for the disk (`synchronous=NORMAL`): it writes to the
 * log, which is in the system's memory then, in microseconds. What puts the log on disk is `sync`, in libuv's threads;
 * a log is read up to the first frame that is not whole (https://www.sqlite.org/walformat.html), so that a commit is on
 * disk with all before it, whoever wrote them. Only SQLite itself may begin the log anew, which it does once all of it
 * is in the database and that on disk; its new header is put on disk before anything follows it (`sqlite3WalFrames`),
 * else frames of the old log would count again. That would hold up who commits: it is done by a thread, with the
 * checkpoints, while no commit is made here.
 */
export class WriteAheadLog {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #isShared: boolean;
  // POSIX locks of a process go with any descriptor of a file that it closes; SQLite has none on this one.
  readonly #file: number;
  readonly #place: DatabasePlace;
  readonly #syncFile: SyncFile;
  #commits = 0;
  #lookAgainAt = longPages;
  #checkpointing: Promise<void> | undefined;
  #held: Promise<void> | undefined;
  #checkpointer: Checkpointer | undefined;
  #refused: unknown;

  /**
   * Of a database that was opened, and brought up to date with `synchronous=FULL`. What is read of it from now on is on
   * disk: what a process that is dead has written to the log, and has not put there, is now, by way of the database, as
   * a log whose pages a disk has refused once is not to be believed (fsync(2)). Throws what SQLite throws, and what
   * `fdatasync` does.
   * @param path of the database
   * @param wasThere whether there was anything in the log before it was opened
   * @param isShared false: no other connection can be made to it
   */
  constructor(
    database: DatabaseSync,
    path: string,
    {
      wasThere,
      isShared = true,
      sync = syncFile,
    }: { readonly wasThere: boolean; readonly isShared?: boolean; readonly sync?: SyncFile | undefined },
  ) {
    this.#database = database;
    this.#path = path;
    this.#isShared = isShared;
    this.#syncFile = sync;
    database.exec(`PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=${isShared ? 0 : 1000};`);
    const isEmpty = sizeOfLog(path) === 0;
    // Its header is put on disk now, and with it its name.
    if (wasThere || isEmpty) unlessFull(() => beginLog(database, wasThere ? 'PASSIVE' : undefined));
    this.#file = openSync(`${path}-wal`, 'r');
    try {
      this.#place = new DatabasePlace(path, this.#file);
      if (wasThere) this.syncNow();
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  /**
   * Resolves once all that was committed before is on disk. Rejects where the disk refuses that, or has refused a checkpoint:
   * nobody knows what it has then, and that it takes the next says nothing of the one before.
   */
  async sync(): Promise<void> {
    if (this.#refused !== undefined) throw this.#refused;
    await this.#syncFile(this.#file);
  }

  /** The same, at once: for what another process may have written. */
  syncNow(): void {
    try {
      fdatasyncSync(this.#file);
    } catch (error) {
      // A descriptor is told once.
      this.#refused = error;
      throw error;
    }
  }

  /** Whether the path of the database still leads to it, a moment ago. */
  get isInPlace(): boolean {
    return this.#place.isKept;
  }

  /** For work whose outcome the next start of the process must find. Throws, as SQLite does, where it would not. */
  checkPlace(): void {
    if (!this.isInPlace) throw new MovedError(this.#path);
  }

  /** While this is there, nothing is to be committed. Never rejects. */
  get held(): Promise<void> | undefined {
    return this.#held;
  }

  /** To be called after commits: sees to it that the log does not get long. Does not throw. */
  written(): void {
    this.#commits += 1;
    if (!this.#isShared || this.#checkpointing !== undefined || this.#commits % commitsBetweenLooks !== 0)
      return;
    const log = lengthOf(this.#database);
    // Where the last checkpoint could not be made, as on a full disk or beside a long reader, the next is tried as much later.
    if (log < this.#lookAgainAt) return;
    // The thread opens it by its path, and would make another one.
    if (!this.isInPlace) return;
    // That no thread could be had is no more than that: the next commits try again.
    this.#checkpointing = this.#checkpoint(log)
      .catch(() => undefined)
      .finally(() => {
        this.#checkpointing = undefined;
        this.#held = undefined;
      });
  }

  async #checkpoint(log: number): Promise<void> {
    this.#lookAgainAt = log + longPages;
    this.#checkpointer ??= new Checkpointer(this.#path, () => {
      this.#checkpointer = undefined;
    });
    // Nearly all of it, while commits go on.
    if (this.#took(await this.#checkpointer.ask('PASSIVE')) !== 'done') return;
    const restarting = this.#checkpointer?.ask('RESTART').then((outcome) => {
      if (this.#took(outcome) === 'done') this.#lookAgainAt = longPages;
    });
    this.#held = restarting;
    await restarting;
  }

  #took(outcome: Outcome): Outcome {
    if (outcome === 'refused') this.#refused = new Error('the disk has refused what a checkpoint wrote');
    return outcome;
  }

  /** Before the database is closed. */
  async close(): Promise<void> {
    await this.#checkpointing;
    await this.#checkpointer?.close();
    closeSync(this.#file);
  }
}

/** Bytes of the log of a database; 0 where there is none. */
export function sizeOfLog(path: string): number {
  return statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}

// In pages; 0 where it cannot be told. NOOP: SQLite 3.51, https://www.sqlite.org/pragma.html#pragma_wal_checkpoint; an older one
// does what PASSIVE says.
function lengthOf(database: DatabaseSync): number {
  try {
    return Number(database.prepare('PRAGMA wal_checkpoint(NOOP)').get()?.['log']);
  } catch {
    return 0;
  }
}

// A disk that is full takes nothing of this, and all is as it was: the first commit that it takes does it.
function unlessFull(write: () => void): void {
  try {
    write();
  } catch (error) {
    if (!takesNothingNow.has(errorCode(error))) throw error;
  }
}

// https://www.sqlite.org/rescode.html: FULL, IOERR_WRITE (a quota), BUSY (another process begins the log).
const takesNothingNow: ReadonlySet<number> = new Set([13, 778, 5]);

/** The extended result code of an error of SQLite's; 0 for any other. */
export function errorCode(error: unknown): number {
  const code = typeof error === 'object' && error !== null && 'errcode' in error ? error.errcode : undefined;
  return typeof code === 'number' ? code : 0;
}

// Writes a page as it is, which no reader can tell from before.
function beginLog(database: DatabaseSync, checkpoint?: 'PASSIVE'): void {
  if (checkpoint !== undefined) database.exec(`PRAGMA wal_checkpoint(${checkpoint})`);
  const id = Number(database.prepare('PRAGMA application_id').get()?.['application_id']);
  database.exec(`PRAGMA application_id=${id}`);
}

// `later`: it could not be done, and may be tried again. `refused`: the disk did not sync what was written (fsync(2)).
type Outcome = 'done' | 'later' | 'refused';

// In a thread of a few lines, which is begun with the first log that gets long. 1034, 1290: IOERR_FSYNC, IOERR_DIR_FSYNC.
const checkpointing = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { DatabaseSync } = require('node:sqlite');
  const database = new DatabaseSync(workerData, { timeout: 100 });
  database.exec('PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=${keptBytes};');
  parentPort.on('message', (how) => {
    if (how === 'close') {
      database.close();
      parentPort.close();
      return;
    }
    let outcome = 'later';
    try {
      if (database.prepare('PRAGMA wal_checkpoint(' + how + ')').get().busy === 0) outcome = 'done';
      if (outcome === 'done' && how === 'RESTART') {
        const { application_id: id } = database.prepare('PRAGMA application_id').get();
        database.exec('PRAGMA application_id=' + id);
      }
    } catch (error) {
      outcome = [1034, 1290].includes(error.errcode) ? 'refused' : 'later';
    }
    parentPort.postMessage(outcome);
  });`;

class Checkpointer {
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #answer: ((outcome: Outcome) => void) | undefined;

  /** @param onEnd is told where it has ended by itself: what it was asked for is not done */
  constructor(path: string, onEnd: () => void) {
    // Loaded for a log that is long: a process that runs one contract and ends has none.
    const threads = process.getBuiltinModule('node:worker_threads');
    this.#worker = new threads.Worker(checkpointing, {
      eval: true,
      workerData: path,
      execArgv: [],
      stderr: true,
      resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 },
    });
    this.#worker.unref();
    this.#worker.on('message', (outcome: Outcome) => this.#answer?.(outcome));
    this.#worker.on('error', () => undefined);
    this.#ended = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        onEnd();
        this.#answer?.('later');
        resolve();
      });
    });
  }

  ask(how: 'PASSIVE' | 'RESTART'): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#answer = resolve;
      this.#worker.postMessage(how);
    });
  }

  async close(): Promise<void> {
    this.#worker.ref();
    this.#worker.postMessage('close');
    await this.#ended;
  }
}

import { randomFillSync } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { explainFileError, makeDirectory } from '@csc-fleet/common/files';
import { isAlive, type Log, processIdentity } from '@csc-fleet/common/service';

const mebibyte = 1024 * 1024;

/** Its folder in a state directory. */
const reserveDirectory = 'reserve';

/** What the journal needs of a disk, in bytes, to be opened, and to take what it must take beside receipts. */
const journalRoom = mebibyte;

/** What is given up at once: pages of a journal, and a receipt of a usual size many times over. */
const portion = mebibyte / 2;

// With less, a write that failed failed for want of room, whatever SQLite calls that.
const nearlyNothing = portion;

/** Bytes without which an executor takes nothing new, were it to start now. */
export const leastRoom = journalRoom + nearlyNothing;

/**
 * Room on the disk of a state directory that nothing but receipts may take: a file of bytes that mean nothing, which is
 * cut shorter whenever a receipt has no room otherwise. A run begins only once the file has grown by what its receipt may
 * take, and so a disk that is full by then, with its output or with anybody else's files, holds up no receipt.
 */
export class DiskReserve {
  readonly #directory: string;
  readonly #path: string;
  readonly #log: Log;
  /** Bytes, by execution. */
  readonly #promises = new Map<string, number>();
  #isShort = false;
  /** Why the disk takes no more, for people, where it is not for want of room. */
  #trouble: string | undefined;

  /**
   * Takes over what an executor that is dead has left, which is what makes room for the next start on a full disk.
   * Throws FILE_UNWRITABLE where its folder cannot be made.
   */
  constructor(stateDir: string, log: Log) {
    this.#directory = join(stateDir, reserveDirectory);
    this.#log = log;
    makeDirectory(this.#directory, { mode: 0o700 });
    // Several processes may share a state directory: each keeps its own.
    const own = encodeURIComponent(processIdentity(process.pid) ?? String(process.pid));
    this.#path = join(this.#directory, own);
    for (const name of readdirSync(this.#directory)) {
      if (name === own || isAlive(decodeURIComponent(name))) continue;
      if (bytesOf(this.#path) < bytesOf(join(this.#directory, name)))
        renameSync(join(this.#directory, name), this.#path);
      else rmSync(join(this.#directory, name), { force: true });
    }
  }

  /** Bytes that output may still take of this disk. */
  freeBytes(): number {
    this.refill();
    return this.#free();
  }

  /** Bytes that are set aside now. */
  get reservedBytes(): number {
    return bytesOf(this.#path);
  }

  /** Why this host takes nothing new, for people; undefined where it is not for want of room. */
  get shortage(): string | undefined {
    return this.#isShort ? this.#shortageText() : undefined;
  }

  /**
   * Sets aside what a receipt may take. Throws SPOOL_FULL where the disk has no such room: the ticket is not spent then.
   * @param bytes of the receipt at most
   */
  promise(executionId: string, bytes: number): void {
    this.#promises.set(executionId, bytes);
    if (this.refill()) return;
    this.#promises.delete(executionId);
    throw new CscError('SPOOL_FULL', this.#shortageText());
  }

  /** Its receipt is on disk, or it is not to be. */
  release(executionId: string): void {
    this.#promises.delete(executionId);
  }

  /** Takes back what was given up, as far as there is room. False: what is promised is not all set aside. */
  refill(): boolean {
    const wanted = [...this.#promises.values()].reduce((sum, bytes) => sum + bytes, journalRoom);
    const isWhole = this.#has(wanted);
    const isShort = !isWhole || this.#free() < nearlyNothing;
    if (isShort !== this.#isShort) {
      this.#isShort = isShort;
      if (!isShort) this.#log.info({}, 'the disk of state_dir has room again: runs are taken again');
      else this.#log.error({ free: this.#free(), why: this.#shortageText() }, shortageNote);
    }
    return isWhole;
  }

  /**
   * Gives up a part of it to what must be written now. False: nothing is left of it, or room is not what is missing.
   * @param isFull whether the write that failed says that it failed for want of room
   */
  giveUp(isFull: boolean): boolean {
    const length = bytesOf(this.#path);
    if (length === 0 || !(isFull || this.#free() < nearlyNothing)) return false;
    withFile(this.#path, 'r+', (file) => ftruncateSync(file, Math.max(0, length - portion)));
    return true;
  }

  // None where there is nothing to ask: what lies there was moved or deleted, or the disk is gone.
  #free(): number {
    try {
      const { bavail, bsize } = statfsSync(this.#directory);
      return bavail * bsize;
    } catch (error) {
      this.#trouble = `${this.#directory}: ${explainFileError(error, 'read')}`;
      return 0;
    }
  }

  // Does not take the last of a disk: what runs may still have something to say.
  #has(wanted: number): boolean {
    this.#trouble = undefined;
    const missing = wanted - bytesOf(this.#path);
    if (missing <= 0) return true;
    if (this.#free() < missing + nearlyNothing) return false;
    const error = grow(this.#path, wanted);
    if (error === undefined) return true;
    const isFull = error instanceof Error && 'code' in error && error.code === 'ENOSPC';
    this.#trouble = isFull ? undefined : explainFileError(error, 'write');
    return false;
  }

  #shortageText(): string {
    return shortageText(this.#directory, this.#trouble);
  }
}

const shortageNote = 'the disk of state_dir is full or takes no writes: nothing runs before that is mended';

function shortageText(directory: string, trouble: string | undefined): string {
  const disk = `the disk of this host's state_dir (${join(directory, '..')})`;
  if (trouble !== undefined)
    return `${disk} takes no writes (${trouble}), and so nothing runs. Mend that; it goes on by itself then`;
  return `${disk} is full: there must be room for a receipt before anything runs. Make room there; what runs, and what is owed to the gate, goes on`;
}

// Blocks, not length: a power cut may leave a file of a length that nothing stands behind.
function bytesOf(path: string): number {
  try {
    return withFile(path, 'r', (file) => {
      const { size, blocks } = fstatSync(file);
      return Math.min(size, blocks * 512);
    });
  } catch {
    return 0;
  }
}

/**
 * Grows the file with random bytes: holes take no room, and a file system may compress what is not random. Gives the
 * error that kept it from that; undefined: none.
 */
function grow(path: string, wanted: number): unknown {
  const noise = Buffer.allocUnsafe(64 * 1024);
  try {
    withFile(path, 'a', (file) => {
      const { size, blocks } = fstatSync(file);
      if (blocks * 512 < size) ftruncateSync(file, 0);
      for (let length = fstatSync(file).size; length < wanted; )
        length += writeSync(file, randomFillSync(noise));
    });
    return undefined;
  } catch (error) {
    // What it has got, it keeps: it is short of the rest.
    return error;
  }
}

function withFile<Value>(path: string, flags: string, use: (file: number) => Value): Value {
  const file = openSync(path, flags, 0o600);
  try {
    return use(file);
  } finally {
    closeSync(file);
  }
}

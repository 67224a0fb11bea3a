import * as fs from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { explainFileError, makeDirectory } from '@csc-fleet/common/files';
import { type LogContent, openStoredLog, readLogContent, type StoredLog } from './read-log.ts';
import { type OutputCaps, OutputSpool, sumOf } from './spool.ts';

// As node:fs/promises has them, which takes 2 ms to load, and which `csc run` of a command without output needs for nothing else.
const [readdir, rm, stat] = [promisify(fs.readdir), promisify(fs.rm), promisify(fs.stat)];

const nearlyNothing = 512 * 1024;

/** What output logs lie on. */
export interface SpoolDisk {
  /** Bytes that output may still take. */
  freeBytes(): number;
  /** Why it takes nothing new, for people; absent: it may. */
  readonly shortage?: string | undefined;
}

const endless: SpoolDisk = { freeBytes: () => Number.MAX_SAFE_INTEGER };

/** The output logs of one host, which share its disk. */
export class SpoolDirectory {
  readonly #directory: string;
  readonly #limit: number;
  readonly #disk: SpoolDisk;
  readonly #taken = new Map<string, number>();
  /** Those that are still written. */
  readonly #growing = new Map<string, OutputSpool>();

  /**
   * @param limit bytes, of all logs together
   * @param disk that it lies on. Default: one that nobody can fill
   */
  constructor(directory: string, limit: number, disk: SpoolDisk = endless) {
    this.#directory = directory;
    this.#limit = limit;
    this.#disk = disk;
    makeDirectory(directory, { mode: 0o700 });
  }

  /** Bytes that logs take up, or may come to. */
  get takenBytes(): number {
    return [...this.#taken.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  get limitBytes(): number {
    return this.#limit;
  }

  /** A log for a new execution. Throws SPOOL_FULL where it might not fit, or none can be made. */
  open(executionId: string, caps: OutputCaps, onFailure: (error: unknown) => void): OutputSpool {
    const wanted = sumOf(caps);
    if (this.takenBytes + wanted > this.#limit) {
      throw new CscError(
        'SPOOL_FULL',
        'this host has no room for the output of another execution (limits.spool_bytes)',
      );
    }
    this.#checkDirectory();
    this.#checkDisk(wanted);
    this.#taken.set(executionId, wanted);
    const spool = new OutputSpool({ executionId, path: this.#pathOf(executionId), caps, onFailure });
    this.#growing.set(executionId, spool);
    return spool;
  }

  // A log is made with the first byte of it: a host where that fails would take run after run, and end each by it.
  #checkDirectory(): void {
    try {
      fs.accessSync(this.#directory, fs.constants.W_OK | fs.constants.X_OK);
    } catch (cause) {
      const message = `no output can be kept in ${this.#directory} of this host: ${explainFileError(cause, 'write')}. Mend that, or restart the executor, which makes it anew where it is gone`;
      throw new CscError('SPOOL_FULL', message, { cause });
    }
  }

  // Early, as a run whose output the disk cuts off is one that has to be done again.
  #checkDisk(wanted: number): void {
    const free = this.#disk.freeBytes();
    const promised = [...this.#growing.values()].reduce((sum, spool) => sum + leftOf(spool), 0);
    if (free - promised >= wanted) return;
    const short = `the disk of this host's state_dir (${this.#directory}) has ${free} bytes left, of which ${promised} are for what runs, and this execution may write ${wanted}: make room there, or lower limits.stdout_bytes and stderr_bytes`;
    throw new CscError('SPOOL_FULL', this.#disk.shortage ?? short);
  }

  /** The log is whole: only what it really holds counts from now on. */
  settle({ executionId, length }: { readonly executionId: string; readonly length: number }): void {
    this.#growing.delete(executionId);
    this.#taken.set(executionId, length);
  }

  /** What an execution wrote whose process died. */
  read(executionId: string): Promise<LogContent> {
    return readLogContent(this.#pathOf(executionId));
  }

  /** How much of a log that had `length` bytes is there: all of them, or its whole frames. */
  async readable(executionId: string, length: number): Promise<number> {
    const path = this.#pathOf(executionId);
    const found = await stat(path).catch(() => undefined);
    if (length === 0 || (found?.isFile() === true && found.size >= length)) return length;
    return (await readLogContent(path)).length;
  }

  /** The log of an execution that has ended, `length` bytes of it. */
  reopen(executionId: string, length: number): StoredLog {
    this.#taken.set(executionId, length);
    return openStoredLog(executionId, this.#pathOf(executionId), length);
  }

  /** Counts a log no more that was discarded; its execution may have another one by now. */
  release(spool: OutputSpool): void {
    const { executionId } = spool;
    if (this.#growing.get(executionId) !== spool) return;
    this.#growing.delete(executionId);
    this.#taken.delete(executionId);
  }

  /** Whether a write that failed may have failed for want of room. */
  get isDiskFull(): boolean {
    return this.#disk.freeBytes() < nearlyNothing;
  }

  /** Deletes a log. */
  async remove(executionId: string): Promise<void> {
    this.#taken.delete(executionId);
    await rm(this.#pathOf(executionId), { force: true, recursive: true });
  }

  /** Deletes the logs that a crash has left of executions that are over. */
  async sweep(unfinished: () => readonly string[]): Promise<void> {
    // Listed before the journal is asked: a log is made only after its execution is in the journal.
    const names = await readdir(this.#directory);
    const wanted = new Set(unfinished().map(fileName));
    const stale = names.filter((name) => !wanted.has(name));
    await Promise.all(stale.map((name) => rm(join(this.#directory, name), { force: true, recursive: true })));
  }

  /** A path in this directory, for a file that is made and deleted. */
  scratch(executionId: string): string {
    return `${this.#pathOf(executionId)}.now`;
  }

  #pathOf(executionId: string): string {
    return join(this.#directory, fileName(executionId));
  }
}

function leftOf({ caps, length }: OutputSpool): number {
  return Math.max(0, sumOf(caps) - length);
}

// The gate chooses execution ids: none of it may become part of a path.
function fileName(executionId: string): string {
  return `${sha256Hex(executionId)}.log`;
}

import { createHash } from 'node:crypto';
import { existsSync, opendirSync } from 'node:fs';
import { opendir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { makeDirectory } from '@csc-fleet/common/files';
import {
  checkpointsOf,
  type Extent,
  forgotten,
  makeDirectoryOf,
  OutputLog,
  unconfirmedOf,
} from './output-log.ts';

interface Open {
  readonly log: Promise<OutputLog>;
  users: number;
}

// Whose removal may not be in the store yet.
const mostGone = 10_000;
const idPattern = /^[0-9a-f-]{36}$/;

/**
 * Where an execution's log is below a gate's output directory: in one of 4096 directories on two levels, as neither a
 * file system nor whoever lists it does well with a million names in one.
 */
export function logPath(directory: string, executionId: string): string {
  const hash = createHash('sha256').update(executionId).digest('hex');
  return join(directory, hash.slice(0, 1), hash.slice(1, 3), `${executionId}.log`);
}

const filesOf = (path: string): string[] => [checkpointsOf(path), unconfirmedOf(path), path];

/** All output logs: one file an execution, open while somebody uses it. */
export class OutputStore {
  readonly #directory: string;
  readonly #open = new Map<string, Open>();
  /** Logs that were removed, the last of them. */
  readonly #gone = new Set<string>();
  /** Whether there may be logs as earlier releases had them, all in one directory: each is moved when it is looked at. */
  #hasFlat: boolean;

  constructor(directory: string) {
    makeDirectory(directory, { mode: 0o700 });
    this.#directory = directory;
    this.#hasFlat = holdsLogs(directory);
  }

  /**
   * Runs `use` with the execution's log, which stays open meanwhile. Throws OUTPUT_TRIMMED for one that was removed.
   * @param extent `complete` where the gate has all of its output
   */
  async with<T>(
    executionId: string,
    use: (log: OutputLog) => Promise<T>,
    extent: Extent = 'growing',
  ): Promise<T> {
    const entry = this.#acquire(executionId, extent);
    try {
      return await use(await entry.log);
    } finally {
      await this.#release(executionId, entry);
    }
  }

  /** Bytes of the execution's log; 0 where it has none. */
  length(executionId: string): Promise<number> {
    return this.with(executionId, async (log) => log.length);
  }

  /** Wakes those who read the execution's log: it has ended, or more of it is known. */
  wake(executionId: string): void {
    this.#open.get(executionId)?.log.then(
      (log) => log.wake(),
      // Whoever opened it has been told.
      () => undefined,
    );
  }

  /** Bytes of all logs that are there. Looks at each, one after the other; those of earlier releases are moved meanwhile. */
  async bytes(): Promise<number> {
    if (this.#hasFlat) await this.#moveAll();
    let bytes = 0;
    for await (const path of logsBelow(this.#directory)) bytes += await sizeOf(path);
    return bytes;
  }

  /** Bytes of the execution's log as it is on disk; 0 where it has none. */
  async size(executionId: string): Promise<number> {
    const path = this.#path(executionId);
    if (this.#hasFlat) await this.#move(executionId, path);
    return sizeOf(path);
  }

  /** Removes the execution's log; who reads it is told so. */
  async remove(executionId: string): Promise<void> {
    const path = this.#path(executionId);
    // What is read now, or before the store says so, must not look like an output of nothing.
    this.#gone.add(executionId);
    for (const oldest of this.#gone) if (this.#gone.size > mostGone) this.#gone.delete(oldest);
    const entry = this.#open.get(executionId);
    this.#open.delete(executionId);
    const flat = this.#hasFlat ? [join(this.#directory, `${executionId}.log`)] : [];
    for (const file of [path, ...flat].flatMap(filesOf)) await rm(file, { force: true });
    await entry?.log.then((log) => log.forget());
  }

  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.allSettled(open.map(async ({ log }) => (await log).close()));
  }

  #acquire(executionId: string, extent: Extent): Open {
    if (this.#gone.has(executionId)) throw forgotten();
    const known = this.#open.get(executionId);
    if (known !== undefined) {
      known.users++;
      return known;
    }
    const entry: Open = { log: this.#openLog(executionId, this.#path(executionId), extent), users: 1 };
    this.#open.set(executionId, entry);
    return entry;
  }

  async #openLog(executionId: string, path: string, extent: Extent): Promise<OutputLog> {
    if (this.#hasFlat) await this.#move(executionId, path);
    return OutputLog.open(path, extent);
  }

  async #moveAll(): Promise<void> {
    for await (const { name } of await opendir(this.#directory)) {
      const executionId = name.replace(/\.log$/, '');
      if (name !== executionId && idPattern.test(executionId))
        await this.#move(executionId, this.#path(executionId));
    }
    this.#hasFlat = holdsLogs(this.#directory);
  }

  // The log last: killed meanwhile, it is found where it was. One that is there already is the right one.
  async #move(executionId: string, path: string): Promise<void> {
    const flat = join(this.#directory, `${executionId}.log`);
    if (!existsSync(flat) || existsSync(path)) return;
    await makeDirectoryOf(path);
    const to = filesOf(path);
    for (const [index, from] of filesOf(flat).entries())
      await rename(from, to[index] ?? path).catch((error: unknown) => {
        // It has none of these, or another call was faster.
        if (!isMissing(error)) throw error;
      });
  }

  async #release(executionId: string, entry: Open): Promise<void> {
    entry.users--;
    if (entry.users > 0 || this.#open.get(executionId) !== entry) return;
    this.#open.delete(executionId);
    await entry.log.then(
      (log) => log.close(),
      () => undefined,
    );
  }

  #path(executionId: string): string {
    // The id comes from our own store; this is for the day when it does not.
    if (!idPattern.test(executionId)) throw new CscError('EXECUTION_UNKNOWN', 'there is no such execution');
    return logPath(this.#directory, executionId);
  }
}

// Up to the first: a directory that once held a million takes its time.
function holdsLogs(directory: string): boolean {
  const entries = opendirSync(directory);
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync())
      if (entry.name.endsWith('.log')) return true;
    return false;
  } finally {
    entries.closeSync();
  }
}

async function* logsBelow(directory: string): AsyncGenerator<string> {
  for await (const entry of await opendir(directory)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* logsBelow(path);
    else if (entry.name.endsWith('.log')) yield path;
  }
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found?.size ?? 0;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

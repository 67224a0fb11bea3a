import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { makeDirectory } from '@csc-fleet/common/files';
import { checkpointsOf, type Extent, forgotten, OutputLog, unconfirmedOf } from './output-log.ts';

interface Open {
  readonly log: Promise<OutputLog>;
  users: number;
}

// Whose removal may not be in the store yet.
const mostGone = 10_000;
const idPattern = /^[0-9a-f-]{36}$/;

/** All output logs: one file an execution, open while somebody uses it. */
export class OutputStore {
  readonly #directory: string;
  readonly #open = new Map<string, Open>();
  /** Logs that were removed, the last of them. */
  readonly #gone = new Set<string>();

  constructor(directory: string) {
    makeDirectory(directory, { mode: 0o700 });
    this.#directory = directory;
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

  /** Bytes of each log that is there, by execution. */
  async sizes(): Promise<Map<string, number>> {
    const sizes = new Map<string, number>();
    for (const name of await readdir(this.#directory)) {
      const executionId = name.replace(/\.log$/, '');
      if (!idPattern.test(executionId)) continue;
      const found = await stat(join(this.#directory, name)).catch(() => undefined);
      if (found !== undefined) sizes.set(executionId, found.size);
    }
    return sizes;
  }

  /** Removes the execution's log; who reads it is told so. */
  async remove(executionId: string): Promise<void> {
    const path = this.#path(executionId);
    // What is read now, or before the store says so, must not look like an output of nothing.
    this.#gone.add(executionId);
    for (const oldest of this.#gone) if (this.#gone.size > mostGone) this.#gone.delete(oldest);
    const entry = this.#open.get(executionId);
    this.#open.delete(executionId);
    await rm(path, { force: true });
    await rm(checkpointsOf(path), { force: true });
    await rm(unconfirmedOf(path), { force: true });
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
    const entry: Open = { log: OutputLog.open(this.#path(executionId), extent), users: 1 };
    this.#open.set(executionId, entry);
    return entry;
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
    return join(this.#directory, `${executionId}.log`);
  }
}

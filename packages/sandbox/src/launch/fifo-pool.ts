import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  fchownSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { guarded } from '@csc-fleet/common/errors';
import {
  defaultScratchDirectory,
  openNameKey,
  toolPath,
  toScratchPath,
  toUntoldName,
} from '../host/index.ts';

/** Both ends of a named pipe without a name. Whoever takes it closes both. */
export interface Fifo {
  readonly read: number;
  readonly write: number;
}

/** A user of this host by ids. */
export interface FifoOwner {
  readonly uid: number;
  readonly gid: number;
}

export interface FifoPoolOptions {
  /** Where the names are for the moment that it takes to open them. Default: `defaultScratchDirectory`. */
  readonly directory?: string;
  /** How many are made at once. Default 32. */
  readonly batch?: number;
}

export interface FifoPool {
  /**
   * Waits for a batch where none is ready. Throws where the system has no descriptors left.
   * @param owner who may open the ends again, as `echo > /dev/stdout` does. Absent: this process's own user
   */
  take(owner?: FifoOwner): Fifo;
  close(): void;
}

/**
 * A stock of FIFOs. Node cannot make a pipe, and its `pipe` stdio is a socket, which the command cannot open again
 * (`/dev/stdout`: ENXIO, unix(7)). They are made by mkfifo(1) many at a time, ahead of need. The last name that each has
 * says nothing of this host to a job, and to `sweepLeftovers` whose it is.
 */
export function createFifoPool(options: FifoPoolOptions = {}): FifoPool {
  const ready: Fifo[] = [];
  const count = options.batch ?? 32;
  const directory = options.directory ?? defaultScratchDirectory();
  const names = openNameKey(directory);
  const pool: PoolDirectory = { directory, key: names.key };
  let filling: Making | undefined;
  let closed = false;
  const refill = (wanted: number): void => {
    if (closed || filling !== undefined || ready.length >= wanted / 2) return;
    filling = makeAhead(wanted, pool, (fifos) => {
      filling = undefined;
      ready.push(...fifos);
    });
  };
  // A process that runs one command needs four.
  refill(Math.min(count, 8));
  return {
    take(owner) {
      if (ready.length === 0) ready.push(...makeNow(count, pool));
      const fifo = ready.shift();
      refill(count);
      if (fifo === undefined) throw new Error('no FIFO can be made');
      if (owner !== undefined) fchownSync(fifo.read, owner.uid, owner.gid);
      return fifo;
    },
    close() {
      closed = true;
      closeAll(ready);
      filling?.abandon();
      names.close();
    },
  };
}

interface PoolDirectory {
  readonly directory: string;
  /** See `toUntoldName`. */
  readonly key: string;
}

interface Batch {
  readonly directory: string;
  readonly paths: readonly string[];
}

interface Making {
  /** Stops it and removes what it made. */
  abandon(): void;
}

// What fails here, for want of descriptors for example, is tried again, and reported, when a FIFO is due.
function makeAhead(count: number, pool: PoolDirectory, done: (fifos: Fifo[]) => void): Making {
  const batch = prepareBatch(count, pool);
  const child = spawn('mkfifo', mkfifoArguments(batch), { stdio: 'ignore', env: { PATH: toolPath } });
  let abandoned = false;
  const finish = (status: number | null): void => {
    if (abandoned) return;
    try {
      done(status === 0 ? openBatch(batch, pool) : []);
    } catch {
      done([]);
    } finally {
      removeBatch(batch);
    }
  };
  // What cannot be removed is left to the next start's sweep.
  const onEnd = guarded(finish, () => undefined);
  child.once('error', () => onEnd(null));
  child.once('exit', onEnd);
  child.unref();
  return {
    abandon() {
      abandoned = true;
      child.kill('SIGKILL');
      removeBatch(batch);
    },
  };
}

function makeNow(count: number, pool: PoolDirectory): Fifo[] {
  const batch = prepareBatch(count, pool);
  try {
    const { status, error } = spawnSync('mkfifo', mkfifoArguments(batch), {
      stdio: 'ignore',
      env: { PATH: toolPath },
    });
    if (status !== 0) throw new Error(`mkfifo failed (${status ?? 'it did not start'})`, { cause: error });
    return openBatch(batch, pool);
  } finally {
    removeBatch(batch);
  }
}

function prepareBatch(count: number, pool: PoolDirectory): Batch {
  const directory = toScratchPath(pool.directory);
  mkdirSync(directory, { mode: 0o700 });
  return { directory, paths: Array.from({ length: count }, (_, index) => join(directory, String(index))) };
}

function mkfifoArguments({ paths }: Batch): string[] {
  return ['-m', '600', '--', ...paths];
}

function openBatch({ paths }: Batch, pool: PoolDirectory): Fifo[] {
  const fifos: Fifo[] = [];
  try {
    for (const path of paths) fifos.push(openUntold(path, pool));
    return fifos;
  } catch (error) {
    closeAll(fifos);
    throw error;
  }
}

function openUntold(path: string, { directory, key }: PoolDirectory): Fifo {
  const untold = join(directory, toUntoldName(key));
  renameSync(path, untold);
  try {
    return openFifo(untold);
  } finally {
    unlinkSync(untold);
  }
}

function openFifo(path: string): Fifo {
  // Opened for both first, so that opening one end does not wait for the other (fifo(7)).
  const both = openSync(path, constants.O_RDWR);
  try {
    const read = openSync(path, constants.O_RDONLY);
    return { read, write: openSync(path, constants.O_WRONLY) };
  } finally {
    closeSync(both);
  }
}

// A mkfifo that was killed may take a moment to be gone.
function removeBatch({ directory }: Batch): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 2 });
}

function closeAll(fifos: Fifo[]): void {
  for (const { read, write } of fifos.splice(0)) {
    closeSync(read);
    closeSync(write);
  }
}

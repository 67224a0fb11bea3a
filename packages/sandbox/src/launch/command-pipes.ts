import { closeSync, constants, openSync } from 'node:fs';
import { descriptorPath } from '../host/index.ts';
import type { Pipe } from './pipe-batch.ts';
import type { PipeOwner, PipePool } from './pipe-pool.ts';

/** The pipes of one command: what its segments get, and the read ends that stay with this process. */
export interface CommandPipes {
  readonly stdout: number;
  readonly stderr: number;
  /** Standard input, output and error of one segment. */
  stdioOf(index: number): readonly (number | 'ignore')[];
  /** Closes what the segments got, as soon as they have it: else no reader would ever see an end of file. */
  closePassed(): void;
}

/** Where bwrap waits, and where a byte for each segment lets it go on. */
export interface Hold {
  readonly block: number;
  readonly release: number;
  close(): void;
}

/**
 * Throws where no descriptors are left; nothing stays open then.
 * @param owner as for `PipePool.take`
 */
export function openCommandPipes(pool: PipePool, segments: number, owner?: PipeOwner): CommandPipes {
  const taken = takeAll(pool, segments + 1, owner);
  const [out, err, ...joints] = taken;
  if (out === undefined || err === undefined) throw new RangeError('a command has at least one segment');
  const passed = [out.write, err.write, ...joints.flatMap(({ read, write }) => [read, write])];
  return {
    stdout: out.read,
    stderr: err.read,
    stdioOf: (index) => [joints[index - 1]?.read ?? 'ignore', joints[index]?.write ?? out.write, err.write],
    closePassed: () => closeAll(passed),
  };
}

/** Throws where no descriptors are left; nothing stays open then. */
export function openHold(pool: PipePool): Hold {
  const { read, write } = pool.take();
  try {
    // Open for both, so that the end of this process is no end of file: bwrap would take that for the sign to start.
    const block = openSync(descriptorPath(read), constants.O_RDWR);
    // The read end stays too: a byte for a bwrap that is gone must not be an error.
    const open = [block, read, write];
    return { block, release: write, close: () => closeAll(open) };
  } catch (error) {
    closeAll([read, write]);
    throw error;
  }
}

function takeAll(pool: PipePool, count: number, owner: PipeOwner | undefined): Pipe[] {
  const taken: Pipe[] = [];
  try {
    while (taken.length < count) taken.push(pool.take(owner));
    return taken;
  } catch (error) {
    closeAll(taken.flatMap(({ read, write }) => [read, write]));
    throw error;
  }
}

// Empties the list: a number that is closed twice may be somebody else's the second time.
function closeAll(descriptors: number[]): void {
  for (const fd of descriptors.splice(0)) closeSync(fd);
}

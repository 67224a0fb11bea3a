import { fchownSync } from 'node:fs';
import { defaultScratchDirectory } from '@csc-fleet/common/processes';
import {
  closePipes,
  findPipeMaker,
  makeFifos,
  openPipesOf,
  type Pipe,
  PipeBatch,
  type PipeMaker,
} from './pipe-batch.ts';
import type { StayingLauncher } from './staying-launcher.ts';

/** A user of this host by ids. */
export interface PipeOwner {
  readonly uid: number;
  readonly gid: number;
}

export interface PipePoolOptions {
  /** For files that lose their names at once. Default: `defaultScratchDirectory`. */
  readonly directory?: string;
  /** How many are made at once. Default 32. */
  readonly batch?: number;
  /** Default: the best one of this machine. */
  readonly maker?: PipeMaker;
  /** Makes them ahead of need, without a process of their own, as long as it is there. */
  readonly staying?: Pick<StayingLauncher, 'pid' | 'startedPid' | 'makePipes' | 'dropPipes'>;
  /** How many are kept ready where it makes them. Default 64: those of a dozen commands. */
  readonly ahead?: number;
}

const defaultAhead = 64;
// Of a process that runs one command.
const atFirst = 8;

export interface PipePool {
  /**
   * Waits for a batch where none is ready. Throws where none can be made, for want of descriptors for example.
   * @param owner who may open the ends again, as `echo > /dev/stdout` does. Absent: this process's own user
   */
  take(owner?: PipeOwner): Pipe;
  close(): void;
}

/**
 * A stock of anonymous pipes. Node cannot make one; its `pipe` stdio is a socket, which the command cannot open again
 * (`/dev/stdout`: ENXIO, unix(7)); and a FIFO, which has had a name, keeps whoever opens it again waiting until the other
 * side is open as well (fifo(7)): for ever, where that has ended by then. They are made many at a time, ahead of need.
 */
export function createPipePool(options: PipePoolOptions = {}): PipePool {
  const ready: Pipe[] = [];
  const most = options.batch ?? 32;
  const directory = options.directory ?? defaultScratchDirectory();
  const { name, command } = options.maker ?? findPipeMaker();
  let making: PipeBatch | undefined;
  let closed = false;
  let asking = false;
  const collect = (): void => {
    const batch = making;
    making = undefined;
    ready.push(...(batch?.open() ?? []));
  };
  const { staying, ahead = defaultAhead } = options;
  const ask = async (from: NonNullable<typeof staying>, pid: number, count: number): Promise<void> => {
    asking = true;
    const numbers = await from.makePipes(count);
    asking = false;
    orNothing(() => {
      if (!closed && from.pid === pid) ready.push(...openPipesOf(pid, numbers));
    });
    from.dropPipes();
  };
  // What fails ahead of need is tried again, and reported, when a pipe is due.
  const refill = (count: number): void => {
    if (closed || command === undefined || making !== undefined || asking) return;
    if (staying?.pid !== undefined) {
      if (ready.length < ahead / 2) void ask(staying, staying.pid, ahead);
      return;
    }
    if (ready.length >= count / 2) return;
    orNothing(() => {
      making = new PipeBatch(count, directory, { name, command });
      making.whenReady(() => orNothing(collect));
    });
  };
  const makeNow = (): void => {
    if (command === undefined) return void ready.push(...makeFifos(most, directory));
    making ??= new PipeBatch(Math.min(most, ahead), directory, { name, command });
    collect();
  };
  // A process that runs one command needs four: the launcher that starts just now has them before the command is due.
  if (staying?.startedPid !== undefined) void ask(staying, staying.startedPid, atFirst);
  else refill(Math.min(most, atFirst));
  return {
    take(owner) {
      if (ready.length === 0) makeNow();
      const pipe = ready.shift();
      refill(most);
      if (pipe === undefined) throw new Error('no pipe can be made');
      if (owner !== undefined) fchownSync(pipe.read, owner.uid, owner.gid);
      return pipe;
    },
    close() {
      closed = true;
      closePipes(ready);
      making?.abandon();
      making = undefined;
    },
  };
}

function orNothing(act: () => void): void {
  try {
    act();
  } catch {}
}

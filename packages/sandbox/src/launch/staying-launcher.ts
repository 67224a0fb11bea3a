import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { guarded } from '@csc-fleet/common/errors';
import { toMarkedPath } from '../host/index.ts';

/** What the launcher needs for one program, by numbers of this process's descriptors. */
export interface Job {
  /** A file with what `toJobText` made. */
  readonly text: number;
  /** The directory of a cgroup of version 2 that the process is to be made in. */
  readonly group?: number;
}

export interface StartedJob {
  /**
   * Until then all descriptors of the job stay open. 'refused': nothing was begun, and it may be begun in another way.
   * 'over': the process has what it needs, or is gone. Never rejects.
   */
  readonly taken: Promise<'over' | 'refused'>;
  /** Never rejects. Pending for ever where it was refused. */
  readonly ended: Promise<JobEnd>;
  /** SIGKILL. Nothing where it has ended. */
  kill(): void;
}

/** How the process ended, as waitid(2) has it. */
export interface JobEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** errno(3) of what kept it from becoming the program; 0 where it became that. */
  readonly error: number;
}

interface OpenJob {
  taken(how: 'over' | 'refused'): void;
  ended(end: JobEnd): void;
}

interface OpenPipes {
  readonly numbers: number[];
  done(numbers: readonly number[]): void;
}

/** Bytes of what goes to it, and of what comes from it: native/serve.c, struct request and struct event. */
const requestBytes = 16;
const eventBytes = 20;
const version = 1;
const requests = { run: 1, kill: 2, pipes: 3, drop: 4 } as const;
const events = { ready: 1, taken: 2, ended: 3, refused: 4, pipe: 5 } as const;

/** Pipes that it makes at once, at most. */
const mostPipes = 64;

// Of starts in a row that came to nothing, in milliseconds.
const firstPauseMs = 100;
const longestPauseMs = 6_400;

const lost: JobEnd = { code: null, signal: 'SIGKILL', error: 0 };

/**
 * csc-launcher as it stays beside this process and starts programs for it (docs/launcher.md). Where it ends, all that it
 * had started ends with it, and it is started again. Must be opened on the main thread, with which it dies.
 */
export class StayingLauncher {
  readonly #path: string;
  readonly #mark: () => string;
  readonly #ahead: number;
  readonly #jobs = new Map<number, OpenJob>();
  #pipes: OpenPipes | undefined;
  #process: ChildProcess | undefined;
  #control: Socket | undefined;
  #isReady = false;
  #makesNetworks = false;
  #isClosed = false;
  #nextId = 1;
  #pauseMs = firstPauseMs;
  #restart: NodeJS.Timeout | undefined;

  /**
   * @param mark as for `toMarkedPath`
   * @param ahead how many processes wait for a job at any time, 1 to 4
   */
  constructor(path: string, mark: () => string, ahead = 4) {
    this.#path = path;
    this.#mark = mark;
    this.#ahead = ahead;
    this.#start();
  }

  /** Its pid; undefined as long as there is none that has said that it is ready. */
  get pid(): number | undefined {
    return this.#isReady && !this.#isClosed ? this.#process?.pid : undefined;
  }

  /** Its pid also before it is ready; undefined as long as there is none. It hears what it is told then once it is. */
  get startedPid(): number | undefined {
    return this.#isClosed ? undefined : this.#process?.pid;
  }

  /** Whether it makes network namespaces, for which it takes root. */
  get makesNetworks(): boolean {
    return this.#makesNetworks;
  }

  /** To be called where there is a pid. */
  run({ text, group = -1 }: Job): StartedJob {
    const control = this.#control;
    if (control === undefined) throw new Error('csc-launcher is not there');
    const id = this.#nextId;
    this.#nextId = (id % 0xffff_ffff) + 1;
    const taken = Promise.withResolvers<'over' | 'refused'>();
    const ended = Promise.withResolvers<JobEnd>();
    this.#jobs.set(id, { taken: taken.resolve, ended: ended.resolve });
    control.ref();
    control.write(toRequest(requests.run, id, text, group));
    return {
      taken: taken.promise,
      ended: ended.promise,
      kill: () => {
        if (this.#jobs.has(id)) this.#control?.write(toRequest(requests.kill, id, -1, -1));
      },
    };
  }

  /**
   * Has it make pipes: one end of each is below its `/proc/PID/fd` by these numbers, until `dropPipes`. Fewer than were
   * asked for where it has no more. Never rejects. One call at a time.
   */
  makePipes(count: number): Promise<readonly number[]> {
    return new Promise((done) => {
      this.#pipes = { numbers: [], done };
      this.#control?.write(toRequest(requests.pipes, 0, Math.min(count, mostPipes), -1));
    });
  }

  /** Has it close what it made: it was opened here. */
  dropPipes(): void {
    this.#control?.write(toRequest(requests.drop, 0, -1, -1));
  }

  /** Ends it, as soon as what it has started has ended. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#restart);
    this.#rest();
  }

  #start(): void {
    this.#restart = undefined;
    try {
      // Of its streams only errors are anybody's.
      const child = spawn(this.#path, ['serve', String(process.pid), String(this.#ahead)], {
        stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
        env: { PATH: toMarkedPath(this.#mark()) },
        cwd: '/',
        detached: true,
      });
      const control = child.stdio[3] as Socket;
      this.#process = child;
      this.#control = control;
      child.unref();
      control.unref();
      this.#listen(child, control);
    } catch {
      // Out of processes or descriptors: again later.
      this.#startLater();
    }
  }

  #listen(child: ChildProcess, control: Socket): void {
    let isOver = false;
    const onEnd = (): void => {
      if (isOver) return;
      isOver = true;
      child.kill('SIGKILL');
      control.destroy();
      this.#lose();
    };
    let rest = Buffer.alloc(0);
    const take = (chunk: Buffer): void => {
      rest = Buffer.concat([rest, chunk]);
      for (; rest.length >= eventBytes; rest = rest.subarray(eventBytes)) this.#hear(rest);
    };
    control.on('data', guarded(take, onEnd)).on('error', onEnd).on('close', onEnd);
    child.once('exit', onEnd).once('error', onEnd);
  }

  #hear(event: Buffer): void {
    const [kind, id] = [event.readUInt32LE(0), event.readUInt32LE(4)];
    const [a, b, c] = [event.readInt32LE(8), event.readInt32LE(12), event.readInt32LE(16)];
    if (kind === events.ready && a !== version) throw new RangeError('another version of csc-launcher');
    if (kind === events.ready) {
      this.#isReady = true;
      this.#makesNetworks = b === 1;
      this.#pauseMs = firstPauseMs;
      return;
    }
    if (kind === events.pipe) this.#hearPipe(a);
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    job.taken(kind === events.refused ? 'refused' : 'over');
    if (kind === events.taken) return;
    this.#jobs.delete(id);
    if (kind === events.ended) job.ended(toEnd(a, b, c));
    this.#rest();
  }

  #hearPipe(number: number): void {
    if (number >= 0) this.#pipes?.numbers.push(number);
    else this.#endPipes(this.#pipes?.numbers ?? []);
  }

  #endPipes(numbers: readonly number[]): void {
    this.#pipes?.done(numbers);
    this.#pipes = undefined;
  }

  // What it had started is being killed by the kernel.
  #lose(): void {
    this.#process = undefined;
    this.#control = undefined;
    this.#isReady = false;
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    this.#endPipes([]);
    for (const job of jobs) {
      job.taken('over');
      job.ended(lost);
    }
    this.#startLater();
  }

  #startLater(): void {
    // What was never ready, seven times in a row, cannot be had on this host.
    if (this.#isClosed || this.#pauseMs > longestPauseMs) return;
    this.#restart = setTimeout(() => this.#start(), this.#pauseMs).unref();
    this.#pauseMs *= 2;
  }

  // Idle, it keeps nobody from ending.
  #rest(): void {
    if (this.#jobs.size > 0) return;
    this.#control?.unref();
    if (this.#isClosed) this.#control?.end();
  }
}

function toRequest(kind: number, id: number, job: number, group: number): Buffer {
  const bytes = Buffer.alloc(requestBytes);
  bytes.writeUInt32LE(kind, 0);
  bytes.writeUInt32LE(id, 4);
  bytes.writeInt32LE(job, 8);
  bytes.writeInt32LE(group, 12);
  return bytes;
}

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

function toEnd(code: number, signal: number, error: number): JobEnd {
  if (signal === 0) return { code, signal: null, error };
  return { code: null, signal: (signalNames.get(signal) ?? 'SIGKILL') as NodeJS.Signals, error };
}

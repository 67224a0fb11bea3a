import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { guarded } from '@csc-fleet/common/errors';
import { toScratchPath } from '@csc-fleet/common/processes';
import { toolPath } from '../host/index.ts';
import { findCscLauncher } from './csc-launcher.ts';

/** Both ends of a pipe. Whoever takes it closes both. */
export interface Pipe {
  readonly read: number;
  readonly write: number;
}

/** Who makes pipes. */
export interface PipeMaker {
  readonly name: 'csc-launcher' | 'perl' | 'mkfifo';
  /** The command line, up to their number; absent for what makes FIFOs. */
  readonly command?: readonly [program: string, ...args: string[]];
}

// It keeps all that it opens, as nothing closes what has a name.
const perlProgram =
  'for (1 .. $ARGV[0]) { pipe(my $r, my $w) or die "$!"; push @kept, $r, $w; print fileno($r), "\\n" } ' +
  '$| = 1; print ".\\n"; sysread(STDIN, my $x, 1)';

/** For where csc-launcher is not: perl-base is essential on Debian. */
export const perlMaker: PipeMaker = { name: 'perl', command: ['perl', '-e', perlProgram] };

/** For where Linux is not. */
export const fifoMaker: PipeMaker = { name: 'mkfifo' };

/** The best one of this machine. */
export function findPipeMaker(launcher: string | undefined = findCscLauncher()): PipeMaker {
  if (process.platform !== 'linux') return fifoMaker;
  return launcher === undefined ? perlMaker : { name: 'csc-launcher', command: [launcher, 'pipes'] };
}

// A helper is done after a millisecond or two; one that is not after this long hangs.
const patienceMs = 5000;
const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * Pipes that a helper process makes and keeps until they are opened, where the kernel shows them: in its /proc/PID/fd.
 * There an anonymous pipe is opened like a file, by whoever may look at the process.
 */
export class PipeBatch {
  readonly #name: string;
  readonly #helper: ChildProcess;
  /** Where the helper says which pipes it has. */
  readonly #list: number;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #hasEnded = false;

  /** Throws where no process or file can be had. */
  constructor(count: number, directory: string, { name, command }: Required<PipeMaker>) {
    this.#name = name;
    this.#list = openNameless(directory);
    try {
      this.#helper = startHelper(count, this.#list, command);
    } catch (error) {
      closeSync(this.#list);
      throw error;
    }
    const onEnd = (): void => {
      this.#hasEnded = true;
    };
    this.#helper.once('error', onEnd).once('exit', onEnd).unref();
    // It says what its exit says.
    this.#helper.stdin?.on('error', () => undefined);
  }

  /** Calls back once the pipes are there, or never will be; not at all once they were opened or given up. */
  whenReady(done: () => void, delayMs = 1): void {
    const look = (): void => {
      if (this.#isOver) return;
      if (this.#hasEnded || delayMs > patienceMs || this.#read() !== undefined) done();
      else this.whenReady(done, delayMs * 2);
    };
    this.#timer = setTimeout(
      guarded(look, () => this.abandon()),
      delayMs,
    ).unref();
  }

  /** Opens both ends of each, holding up this process until they are there. Throws where they never are. */
  open(): Pipe[] {
    try {
      return openPipesOf(this.#helper.pid ?? 0, this.#wait());
    } finally {
      this.abandon();
    }
  }

  /** Ends the helper, and with it what was not opened. */
  abandon(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    closeSync(this.#list);
    this.#helper.kill('SIGKILL');
    this.#helper.stdin?.destroy();
  }

  #wait(): number[] {
    const until = performance.now() + patienceMs;
    for (;;) {
      const numbers = this.#read();
      if (numbers !== undefined) return numbers;
      if (this.#hasEnded || isGone(this.#helper.pid)) throw new Error(`${this.#name} made no pipes`);
      if (performance.now() > until) throw new Error(`${this.#name} does not answer`);
      Atomics.wait(pause, 0, 0, 0.2);
    }
  }

  // Undefined as long as the list has no end.
  #read(): number[] | undefined {
    const bytes = Buffer.alloc(4096);
    const lines = bytes.toString('latin1', 0, readSync(this.#list, bytes, 0, bytes.length, 0)).split('\n');
    return lines.at(-2) === '.' ? lines.slice(0, -2).map(Number) : undefined;
  }
}

function openNameless(directory: string): number {
  const path = toScratchPath(directory);
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  return fd;
}

// Its input ends with this process, however that ends, and so does it.
function startHelper(
  count: number,
  list: number,
  [program, ...args]: NonNullable<PipeMaker['command']>,
): ChildProcess {
  const stdio: ('pipe' | 'ignore' | number)[] = ['pipe', list, 'ignore'];
  return spawn(program, [...args, String(count)], { stdio, env: { PATH: toolPath }, cwd: '/' });
}

// While this process is held up, nobody tells it of exits.
function isGone(pid: number | undefined): boolean {
  try {
    // Its descriptors go when it ends, also while it is still to be waited for.
    return readdirSync(`/proc/${pid}/fd`).length === 0;
  } catch {
    return true;
  }
}

/** Opens both ends of each of these pipes that process `pid` has. Throws where one is none. */
export function openPipesOf(pid: number, numbers: readonly number[]): Pipe[] {
  const pipes: Pipe[] = [];
  try {
    for (const number of numbers) pipes.push(openBoth(`/proc/${pid}/fd/${number}`));
    return pipes;
  } catch (error) {
    closePipes(pipes);
    throw error;
  }
}

function openBoth(path: string): Pipe {
  // Whatever has become of the helper: opening anything else could wait.
  if (!readlinkSync(path).startsWith('pipe:')) throw new Error(`${path} is no pipe`);
  const read = openSync(path, constants.O_RDONLY);
  try {
    return { read, write: openSync(path, constants.O_WRONLY) };
  } catch (error) {
    closeSync(read);
    throw error;
  }
}

/** Where there is no /proc: named pipes that have lost their names. Which of its ends is opened first does not matter. */
export function makeFifos(count: number, directory: string): Pipe[] {
  const place = toScratchPath(directory);
  mkdirSync(place, { mode: 0o700 });
  const pipes: Pipe[] = [];
  try {
    const paths = Array.from({ length: count }, (_, index) => join(place, String(index)));
    const { status } = spawnSync('mkfifo', ['-m', '600', '--', ...paths], { env: { PATH: toolPath } });
    if (status !== 0) throw new Error(`mkfifo made no pipes (${status})`);
    for (const path of paths) pipes.push(openFifo(path));
    return pipes;
  } catch (error) {
    closePipes(pipes);
    throw error;
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function openFifo(path: string): Pipe {
  // Opened for both first, so that opening one end does not wait for the other (fifo(7)).
  const both = openSync(path, constants.O_RDWR);
  try {
    const read = openSync(path, constants.O_RDONLY);
    return { read, write: openSync(path, constants.O_WRONLY) };
  } finally {
    closeSync(both);
  }
}

export function closePipes(pipes: Pipe[]): void {
  for (const { read, write } of pipes.splice(0)) {
    closeSync(read);
    closeSync(write);
  }
}

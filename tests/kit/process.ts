import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { callWarm } from './cli/warm-pool.ts';

export const repository = fileURLToPath(new URL('../../', import.meta.url));
/** The command under test: the one that CSC_BIN names, which is the bundle, or from the sources. */
export const cscBin = process.env['CSC_BIN'] ?? `${repository}packages/cli/bin/csc.js`;

/** How a finished command ended. */
export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/**
 * Runs `csc` with these arguments to its end: where it gets no input, in a process that has run others before, as most
 * of a start is loading.
 */
export function csc(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  if (options.input !== undefined) return freshCsc(args, options);
  const { env, cwd = process.cwd() } = options;
  return callWarm({ args, env: { ...process.env, ...env }, cwd });
}

/** The same in a process of its own, with pipes on all three sides: for how csc starts, ends and is killed. */
export async function freshCsc(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = spawn(process.execPath, [cscBin, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A command that does not read its input closes the pipe; that is no fault of the test.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

/** A service under test: a real process, its log, and a way to end it. */
export class Service implements AsyncDisposable {
  readonly child: ChildProcess;
  #log = '';
  readonly #waiting = new Set<() => void>();
  readonly #name: string;

  /** @param program what Node runs: the command under test, unless a test has one of its own */
  constructor(name: string, args: readonly string[], program: string = cscBin) {
    this.#name = name;
    this.child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#log += chunk.toString();
        for (const check of this.#waiting) check();
      });
    }
    this.child.on('exit', () => {
      for (const check of this.#waiting) check();
    });
  }

  get log(): string {
    return this.#log;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves to the first match in the log, past or to come, from character `from` on; rejects where the process ends before. */
  async waitFor(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const match = pattern.exec(this.#log.slice(from));
        if (match === null && this.running) return;
        this.#waiting.delete(check);
        if (match !== null) resolve(match);
        else reject(new Error(`${this.#name} ended before it logged ${pattern}:\n${this.#log}`));
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Ends it and waits until it is gone; does nothing where it is gone already. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.running) return;
    const gone = once(this.child, 'exit');
    this.child.kill(signal);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }
}

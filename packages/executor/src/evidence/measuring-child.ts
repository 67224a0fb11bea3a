import { type ChildProcess, type SpawnOptions, type StdioOptions, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { defaultScratchDirectory } from '@csc-fleet/common/processes';
import { openContent } from '@csc-fleet/sandbox/host';
import { findCscConfine, prlimitPath } from '@csc-fleet/sandbox/launch';
import { ownFilter } from '@csc-fleet/sandbox/seccomp';
import { confineVariable, type MeasuringRequest, measuringProgram } from './measuring-program.ts';

/** The host user of the jobs; absent where the executor is that user. */
export interface Credentials {
  readonly uid: number;
  readonly gid: number;
}

/** How a request ended. `cut`: by its time, by its signal, or because the child failed: what was answered until then counts. */
export type AskEnd = 'done' | 'cut';

/**
 * One process that looks at what jobs have left, as the user of the jobs: it can be slow, be killed, and open nothing that
 * they could not. Once it runs it can do nothing but read files and answer, where native/confine was compiled; processor,
 * memory and descriptors are bounded in any case. It answers one request at a time.
 */
export class MeasuringChild {
  readonly #child: ChildProcess;
  readonly #input: Writable;
  #onLine: (line: string) => void = () => undefined;
  #onEnd: () => void = () => undefined;

  /** @param cpuSeconds the kernel ends it where it has taken so many of a processor */
  constructor(credentials: Credentials | undefined, cpuSeconds: number) {
    const { child, input, output } = start(credentials, cpuSeconds);
    this.#child = child;
    this.#input = input;
    // Also what `kill` cannot do, which must not have it tried again.
    child.on('error', () => this.#ended());
    child.once('close', () => this.#ended());
    input.on('error', () => this.kill());
    readLines(
      output,
      (line) => this.#onLine(line),
      () => this.kill(),
    );
  }

  /**
   * Sends one request and hands on the answers to it. Never rejects. A request that was cut has taken the child with it.
   * @param onAnswer throws for an answer that is none
   */
  async ask(
    request: MeasuringRequest,
    { ms, signal }: { readonly ms: number; readonly signal?: AbortSignal },
    onAnswer: (answer: unknown) => void,
  ): Promise<AskEnd> {
    const { promise, resolve } = Promise.withResolvers<AskEnd>();
    const cut = (): void => {
      this.kill();
      resolve('cut');
    };
    // Not waited for: a process that hangs in the kernel does not even end by SIGKILL.
    const timer = setTimeout(cut, ms);
    signal?.addEventListener('abort', cut, { once: true });
    this.#onEnd = cut;
    this.#onLine = (line) => {
      try {
        const answer: unknown = JSON.parse(line);
        if (isDone(answer)) resolve('done');
        else onAnswer(answer);
      } catch {
        cut();
      }
    };
    if (signal?.aborted === true || !this.isAlive) cut();
    else this.#input.write(`${JSON.stringify(request)}\n`);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cut);
      this.#onLine = () => undefined;
      this.#onEnd = () => undefined;
    }
  }

  get isAlive(): boolean {
    const { pid, exitCode, signalCode, killed } = this.#child;
    return pid !== undefined && exitCode === null && signalCode === null && !killed;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
    this.#ended();
  }

  #ended(): void {
    const onEnd = this.#onEnd;
    this.#onEnd = () => undefined;
    onEnd();
  }
}

function isDone(answer: unknown): boolean {
  return typeof answer === 'object' && answer !== null && 'done' in answer;
}

// Beyond those that a child of ours has by itself: native/confine finds the filter at 94.
const [moduleNumber, filterNumber] = [4, 94];

// What it must never come to: a walk or a hash needs some ten megabytes beside Node itself.
const [heapMebibytes, dataBytes, descriptors] = [256, 2 ** 30, 256];

function start(
  credentials: Credentials | undefined,
  cpuSeconds: number,
): {
  child: ChildProcess;
  input: Writable;
  output: Readable;
} {
  if (process.platform !== 'linux') return begin(process.execPath, [], { stdio: ['pipe', 'pipe', 'ignore'] });
  const opened: number[] = [];
  const keep = (fd: number): number => {
    opened.push(fd);
    return fd;
  };
  try {
    // By its descriptor: the directory that Node lies in may be closed to the job user. So may that of the module.
    const stdio: StdioOptions = ['pipe', 'pipe', 'ignore', keep(openSync(process.execPath, 'r'))];
    const [module, filter] = [findCscConfine(), ownFilter('reader')];
    if (module !== undefined && filter !== undefined) {
      stdio[moduleNumber] = keep(openSync(module, 'r'));
      stdio[filterNumber] = keep(openContent(filter, defaultScratchDirectory()));
    }
    const limits = { cpu: cpuSeconds, data: dataBytes, nofile: descriptors, core: 0, fsize: 0 };
    const words = Object.entries(limits).map(([name, value]) => `--${name}=${value}`);
    const confine = stdio.length > filterNumber ? `/proc/self/fd/${moduleNumber}` : '';
    return begin(prlimitPath, [...words, '--', '/proc/self/fd/3'], {
      stdio: Array.from(stdio, (descriptor) => descriptor ?? 'ignore'),
      env: { [confineVariable]: confine },
      ...credentials,
    });
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function begin(program: string, args: readonly string[], options: SpawnOptions): ReturnType<typeof start> {
  const node = [`--max-old-space-size=${heapMebibytes}`, '-e', measuringProgram];
  const child = spawn(program, [...args, ...node], {
    // An executor's own environment is nobody's business there.
    env: {},
    cwd: '/',
    // Ctrl-C at the executor's terminal is the executor's to handle.
    detached: true,
    ...options,
  });
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new TypeError('a child has the pipes that it was given');
  child.unref();
  return { child, input: stdin, output: stdout };
}

// Longer than any answer: a path of PATH_MAX bytes, each of them escaped.
const mostLine = 32_768;

function readLines(output: Readable, onLine: (line: string) => void, onTooLong: () => void): void {
  let text = '';
  output.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = `${text}${chunk}`.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) onLine(line);
    if (text.length > mostLine) onTooLong();
  });
  output.on('error', onTooLong);
}

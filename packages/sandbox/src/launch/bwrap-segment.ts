import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, write as writeFile, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { guarded } from '@csc-fleet/common/errors';
import {
  findCommand,
  identify,
  innerPid,
  type ProcessId,
  signalProcess,
  toMarkedPath,
  waitUntilGone,
  withUmask,
} from '../host/index.ts';
import type { DescriptorNumbers, SandboxPlan } from '../plan/index.ts';
import { type BwrapStatus, parseBwrapStatus } from './bwrap-status.ts';
import { toStartLine } from './csc-launcher.ts';
import type { Pipe } from './pipe-batch.ts';
import type { SegmentEnd, SegmentProcess } from './segment.ts';

export interface BwrapSpawn {
  readonly bwrapPath: string;
  /** csc-launcher; absent where other tools stand in for it. */
  readonly launcherPath?: string;
  /** By which `sweepLeftovers` knows whose this is. */
  readonly mark: string;
  readonly plan: SandboxPlan;
  readonly argv: readonly string[];
  /** The child's descriptors by their number there. The numbers between them are not passed. */
  readonly descriptors: ReadonlyMap<number, Passed>;
  readonly numbers: DescriptorNumbers;
  /** Where bwrap waits for its options. Closed here. */
  readonly gate: Pipe;
  /** Each ends with a NUL. */
  readonly options: Buffer;
  /** Called while the process waits at the gate: all that it makes later inherits what is done to it here. */
  confine(pid: number): void;
  /** What an end means, once no process of the sandbox is left. */
  judge(end: BwrapEnd): Promise<SegmentEnd>;
}

/** A descriptor of this process, or a new pipe to it; 'ignore' is /dev/null for 0 to 2 and nothing above. */
export type Passed = number | 'ignore' | 'pipe';

/** How one bwrap ended. */
export interface BwrapEnd {
  /** The command's, as bwrap's status has it. Absent: bwrap itself failed, or was killed. */
  readonly exitCode?: number;
  /** Of the bwrap process. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** `terminate` or `kill` was called. */
  readonly killed: boolean;
  /** Why bwrap could not be started; absent where it was. */
  readonly error?: string;
}

/**
 * Starts one bwrap. An exit of bwrap is not believed by itself: a command can make it report one and go on
 * (PTRACE_TRACEME and SIGSTOP), so the end is when the sandbox's init is gone, which takes every process of its PID
 * namespace with it (pid_namespaces(7)). Throws what `spawn` throws.
 */
export function startBwrap(options: BwrapSpawn): SegmentProcess {
  const child = spawnBwrap(options);
  const built = Promise.withResolvers<boolean>();
  const initPid = Promise.withResolvers<number | undefined>();
  let status: BwrapStatus = {};
  let init: ProcessId | undefined;
  let asked: 'terminate' | 'kill' | undefined;
  const act = (): void => {
    // Before bwrap has said which one is its init, killing bwrap alone would leave that behind.
    if (init === undefined || asked === undefined) return;
    const command = asked === 'terminate' ? findCommand(init) : undefined;
    if (command === undefined) signalProcess(init, 'SIGKILL');
    else signalProcess(command, 'SIGTERM');
  };
  watchStatus(child, options.numbers.status, (next) => {
    const isFirst = status.childPid === undefined && next.childPid !== undefined;
    status = next;
    if (!isFirst) return;
    init = identifyInit(next.childPid ?? 0);
    initPid.resolve(init?.pid);
    built.resolve(true);
    act();
  });
  const ask = (wanted: 'terminate' | 'kill'): void => {
    if (asked !== 'kill') asked = wanted;
    act();
  };
  const ended = waitForExit(child).then(async (exit): Promise<SegmentEnd> => {
    built.resolve(false);
    initPid.resolve(undefined);
    if (init !== undefined) {
      signalProcess(init, 'SIGKILL');
      await waitUntilGone(init);
    }
    const { exitCode } = status;
    const killed = asked !== undefined;
    return await options.judge({ ...exit, killed, ...(exitCode === undefined ? {} : { exitCode }) });
  });
  return {
    built: built.promise,
    init: initPid.promise,
    ended,
    terminate: () => ask('terminate'),
    kill: () => ask('kill'),
  };
}

// bwrap reads its options to their end before it does anything, so it waits where nobody has written them yet. One that
// cannot be confined never gets them: without options bwrap has nothing that a command could be run in.
function spawnBwrap(options: BwrapSpawn): ChildProcess {
  const { read, write } = options.gate;
  let child: ChildProcess | undefined;
  try {
    child = spawnAtGate(options);
    if (child.pid !== undefined) options.confine(child.pid);
  } catch (error) {
    child?.kill('SIGKILL');
    closeSync(write);
    throw error;
  } finally {
    closeSync(read);
  }
  openGate(write, options.options);
  return child;
}

// What a pipe holds at least before a writer has to wait (pipe(7)).
const pipeBytes = 4096;

// One that is gone, or was never there, reads no more (EPIPE): its end says so.
function openGate(write: number, options: Buffer): void {
  if (options.length > pipeBytes) return void pushAll(write, options).catch(() => undefined);
  try {
    writeSync(write, options);
  } catch {
  } finally {
    closeSync(write);
  }
}

async function pushAll(write: number, options: Buffer): Promise<void> {
  try {
    for (let at = 0; at < options.length; ) at += await writeSome(write, options.subarray(at));
  } finally {
    closeSync(write);
  }
}

const writeSome = promisify(
  (fd: number, bytes: Buffer, done: (error: Error | null, written: number) => void) =>
    writeFile(fd, bytes, 0, bytes.length, null, done),
);

function spawnAtGate(options: BwrapSpawn): ChildProcess {
  const { bwrapPath, launcherPath, mark, plan, argv, descriptors, numbers } = options;
  const stdio: Passed[] = [];
  for (const [number, descriptor] of descriptors) stdio[number] = descriptor;
  const bwrap = [bwrapPath, '--args', String(numbers.args), '--', ...argv];
  const line = toStartLine(plan, bwrap, launcherPath);
  const start = (): ChildProcess =>
    spawn(line.program, line.args, {
      stdio: Array.from(stdio, (descriptor) => descriptor ?? 'ignore'),
      // All of it can be read inside, in /proc/1/environ, whatever --clearenv does.
      env: { PATH: toMarkedPath(mark) },
      cwd: '/',
      // A session of its own: Ctrl-C at the executor's terminal is the executor's to handle.
      detached: true,
      ...line.credentials,
    });
  return line.rest ? withUmask(plan.umask, start) : start();
}

function watchStatus(child: ChildProcess, number: number, onStatus: (status: BwrapStatus) => void): void {
  const stream = child.stdio?.[number] as Readable | null | undefined;
  let text = '';
  const take = (chunk: string): void => {
    text += chunk;
    onStatus(parseBwrapStatus(text));
  };
  // Without its status nobody could end it; with bwrap its sandbox ends (--die-with-parent).
  const onData = guarded(take, () => child.kill('SIGKILL'));
  stream?.setEncoding('utf8').on('data', onData);
  // Its end says as much as an error would.
  stream?.on('error', () => undefined);
}

// bwrap's child is pid 1 of its namespace. Anything else that has this pid came after it.
function identifyInit(pid: number): ProcessId | undefined {
  return innerPid(pid) === 1 ? identify(pid) : undefined;
}

// `close` comes when the status was read to its end as well; a bwrap that could not be started has only an `error`.
function waitForExit(child: ChildProcess): Promise<Pick<BwrapEnd, 'code' | 'signal' | 'error'>> {
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
    child.once('error', ({ message }) => {
      if (child.pid === undefined) resolve({ code: null, signal: null, error: message });
    });
  });
}

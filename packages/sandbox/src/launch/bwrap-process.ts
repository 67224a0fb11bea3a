import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, write as writeFile, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type { RunGroup } from '../cgroup/index.ts';
import { openContent, toMarkedPath, withUmask } from '../host/index.ts';
import type { DescriptorNumbers, SandboxPlan } from '../plan/index.ts';
import { toJobText, toStartLine } from './csc-launcher.ts';
import type { PipePool } from './pipe-pool.ts';
import type { Job, StayingLauncher } from './staying-launcher.ts';

export interface BwrapSpawn {
  readonly bwrapPath: string;
  /** csc-launcher; absent where other tools stand in for it. */
  readonly launcherPath?: string;
  /** csc-launcher as it stays. Absent, or not there: bwrap is started from this process. */
  readonly staying?: StayingLauncher;
  /** By which `sweepLeftovers` knows whose this is. */
  readonly mark: string;
  readonly plan: SandboxPlan;
  readonly argv: readonly string[];
  /** This process's descriptors by their number there. The numbers between them are not passed. */
  readonly descriptors: ReadonlyMap<number, number | 'ignore'>;
  readonly numbers: DescriptorNumbers;
  /** What bwrap reads; `ownNetwork`: it is started in the network namespace of its sandbox. */
  toOptions(how: { readonly ownNetwork: boolean }): Buffer;
  readonly pipePool: Pick<PipePool, 'take'>;
  readonly scratchDirectory: string;
  /** Which it is in before it is bwrap. */
  readonly group?: RunGroup;
  /** Called while what was started from this process waits for its options: after it is in its group. */
  confine(pid: number): void;
  /** Called once: the descriptors are not needed here any more. Not called where `startBwrapProcess` throws. */
  onPassed(): void;
}

/** How a bwrap process ended. */
export interface BwrapExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why bwrap could not be started; absent where it was. */
  readonly error?: string;
  /** The same, as it was thrown. */
  readonly cause?: unknown;
  /** errno(3) of its exec(2); absent or 0 where that went well. */
  readonly errno?: number;
}

export interface BwrapProcess {
  /** Resolves once its status has come to its end as well. Never rejects. */
  readonly exited: Promise<BwrapExit>;
  /** SIGKILL to bwrap alone. */
  kill(): void;
}

/**
 * Starts bwrap in its group, by the launcher that stays or else from here. Throws what `spawn` throws, and what says
 * that there are no descriptors.
 * @param onStatus told what bwrap says of itself, as it comes
 */
export function startBwrapProcess(options: BwrapSpawn, onStatus: (text: string) => void): BwrapProcess {
  const { staying } = options;
  return staying?.pid === undefined
    ? startFromHere(options, onStatus)
    : startByLauncher(options, staying, onStatus);
}

// The process is in its group before it is bwrap, or never becomes it: so bwrap may have its options at once.
function startByLauncher(
  options: BwrapSpawn,
  staying: StayingLauncher,
  onStatus: (text: string) => void,
): BwrapProcess {
  const ownNetwork = staying.makesNetworks && options.plan.namespaces.includes('net');
  const open = openForJob(options, ownNetwork);
  // Both are for bwrap, which the process that was just asked for is yet to become: meanwhile it waits for neither.
  const job = staying.run(open);
  // Its descriptors are being taken: nothing may close them now, so that nothing is thrown.
  const closed = converse(open, () => options.toOptions({ ownNetwork }), onStatus).catch((error) => {
    job.kill();
    return toFailure(error);
  });
  let instead: BwrapProcess | undefined;
  const finish = async (how: 'over' | 'refused'): Promise<BwrapExit> => {
    open.close();
    if (how === 'refused') {
      instead = startFromHere(options, onStatus);
      return await instead.exited;
    }
    options.onPassed();
    const [{ error, ...end }, failure] = await Promise.all([job.ended, closed]);
    return failure ?? { ...end, errno: error };
  };
  const fail = (error: unknown): BwrapExit => {
    options.onPassed();
    return toFailure(error);
  };
  return { exited: job.taken.then(finish).catch(fail), kill: () => (instead ?? job).kill() };
}

function toFailure(error: unknown): BwrapExit {
  return {
    code: null,
    signal: null,
    error: error instanceof Error ? error.message : String(error),
    cause: error,
  };
}

// What this process makes while the other one becomes bwrap: its options, of which bwrap waits for the end, and the ear for
// what it says.
async function converse(
  { status, gate, abandon }: OpenForJob,
  toOptions: () => Buffer,
  onStatus: (text: string) => void,
): Promise<undefined> {
  let heard: Promise<void>;
  try {
    const text = toOptions();
    heard = readStatus(new Socket({ fd: status, readable: true, writable: false }), onStatus);
    openGate(gate, text);
  } catch (error) {
    abandon();
    throw error;
  }
  await heard;
}

interface OpenForJob extends Job {
  readonly status: number;
  readonly gate: number;
  /** Closes what was passed. */
  close(): void;
  /** Closes `status` and `gate`, which are nobody else's yet. */
  abandon(): void;
}

function openForJob(
  { pipePool, group, scratchDirectory, ...options }: BwrapSpawn,
  ownNetwork: boolean,
): OpenForJob {
  const passed: number[] = [];
  const kept: number[] = [];
  const closeAll = (fds: number[]): void => {
    for (const fd of fds.splice(0)) closeSync(fd);
  };
  const takePipe = (passes: 'read' | 'write', stays: 'read' | 'write'): readonly [number, number] => {
    const pipe = pipePool.take();
    passed.push(pipe[passes]);
    kept.push(pipe[stays]);
    return [pipe[passes], pipe[stays]];
  };
  try {
    const [args, gate] = takePipe('read', 'write');
    const [said, status] = takePipe('write', 'read');
    const { numbers } = options;
    const descriptors = new Map(options.descriptors).set(numbers.args, args).set(numbers.status, said);
    const entrance = group?.openEntrance();
    passed.push(
      ...(entrance?.files ?? []),
      ...(entrance?.directory === undefined ? [] : [entrance.directory]),
    );
    const text = toJobText(options.plan, {
      descriptors,
      ownNetwork,
      joins: entrance?.files ?? [],
      path: toMarkedPath(options.mark),
      program: toCommandLine(options),
    });
    const job = openContent(text, scratchDirectory);
    passed.push(job);
    const into = entrance?.directory === undefined ? {} : { group: entrance.directory };
    const abandon = (): void => closeAll(kept);
    return { text: job, ...into, status, gate, close: () => closeAll(passed), abandon };
  } catch (error) {
    closeAll(passed);
    closeAll(kept);
    throw error;
  }
}

function toCommandLine({
  bwrapPath,
  numbers,
  argv,
}: Pick<BwrapSpawn, 'bwrapPath' | 'numbers' | 'argv'>): string[] {
  return [bwrapPath, '--args', String(numbers.args), '--', ...argv];
}

// bwrap reads its options to their end before it does anything, so it waits where nobody has written them yet. One that
// cannot be confined never gets them: without options bwrap has nothing that a command could be run in.
function startFromHere(options: BwrapSpawn, onStatus: (text: string) => void): BwrapProcess {
  const { read, write } = options.pipePool.take();
  let child: ChildProcess | undefined;
  try {
    child = spawnAtGate(options, read);
    if (child.pid !== undefined) {
      options.group?.join(child.pid);
      options.confine(child.pid);
    }
  } catch (error) {
    child?.kill('SIGKILL');
    closeSync(write);
    throw error;
  } finally {
    closeSync(read);
  }
  openGate(write, options.toOptions({ ownNetwork: false }));
  options.onPassed();
  const bwrap = child;
  const status = bwrap.stdio[options.numbers.status];
  // Its end says as much as an error would.
  if (status instanceof Readable) void readStatus(status, onStatus);
  return { exited: waitForExit(bwrap), kill: () => void bwrap.kill('SIGKILL') };
}

// Resolves when no more can come.
async function readStatus(stream: Readable, onStatus: (text: string) => void): Promise<void> {
  stream.setEncoding('utf8').on('data', onStatus);
  await new Promise<void>((resolve) => {
    stream.on('error', () => undefined).once('close', resolve);
  });
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

function spawnAtGate(options: BwrapSpawn, gate: number): ChildProcess {
  const { launcherPath, mark, plan, descriptors, numbers } = options;
  const stdio: (number | 'ignore' | 'pipe')[] = [];
  for (const [number, descriptor] of descriptors) stdio[number] = descriptor;
  stdio[numbers.args] = gate;
  stdio[numbers.status] = 'pipe';
  const line = toStartLine(plan, toCommandLine(options), launcherPath);
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

// `close` comes when the status was read to its end as well; a bwrap that could not be started has only an `error`.
function waitForExit(child: ChildProcess): Promise<BwrapExit> {
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
    child.once('error', (error) => {
      if (child.pid === undefined) resolve(toFailure(error));
    });
  });
}

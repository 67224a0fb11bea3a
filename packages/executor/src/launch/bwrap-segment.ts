import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { DescriptorNumbers, SandboxPlan } from '../sandbox/index.ts';
import { type BwrapStatus, parseBwrapStatus } from './bwrap-status.ts';
import {
  findCommand,
  identify,
  innerPid,
  type ProcessId,
  signalProcess,
  waitUntilGone,
} from './processes.ts';
import type { SegmentEnd, SegmentProcess } from './segment.ts';

export interface BwrapSpawn {
  readonly bwrapPath: string;
  readonly plan: SandboxPlan;
  readonly argv: readonly string[];
  /** The child's descriptors by their number there. The numbers between them are not passed. */
  readonly descriptors: ReadonlyMap<number, Passed>;
  readonly numbers: DescriptorNumbers;
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
    built.resolve(true);
    act();
  });
  const ask = (wanted: 'terminate' | 'kill'): void => {
    if (asked !== 'kill') asked = wanted;
    act();
  };
  const ended = waitForExit(child).then(async (exit): Promise<SegmentEnd> => {
    built.resolve(false);
    if (init !== undefined) {
      signalProcess(init, 'SIGKILL');
      await waitUntilGone(init);
    }
    const { exitCode } = status;
    const killed = asked !== undefined;
    return await options.judge({ ...exit, killed, ...(exitCode === undefined ? {} : { exitCode }) });
  });
  return { built: built.promise, ended, terminate: () => ask('terminate'), kill: () => ask('kill') };
}

function spawnBwrap({ bwrapPath, plan, argv, descriptors, numbers }: BwrapSpawn): ChildProcess {
  const stdio: Passed[] = [];
  for (const [number, descriptor] of descriptors) stdio[number] = descriptor;
  return spawn(bwrapPath, ['--args', String(numbers.args), '--', ...argv], {
    stdio: Array.from(stdio, (descriptor) => descriptor ?? 'ignore'),
    // All of it can be read inside, in /proc/1/environ, whatever --clearenv does.
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/',
    // A session of its own: Ctrl-C at the executor's terminal is the executor's to handle.
    detached: true,
    ...plan.credentials,
  });
}

function watchStatus(child: ChildProcess, number: number, onStatus: (status: BwrapStatus) => void): void {
  const stream = child.stdio?.[number] as Readable | null | undefined;
  let text = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    onStatus(parseBwrapStatus(text));
  });
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

import { constants } from 'node:os';
import { guarded } from '@csc-fleet/common/errors';
import { identify, type ProcessId } from '@csc-fleet/common/processes';
import { findCommand, innerPid, signalProcess, waitUntilGone } from '../host/index.ts';
import { type BwrapExit, type BwrapSpawn, startBwrapProcess } from './bwrap-process.ts';
import { type BwrapStatus, parseBwrapStatus } from './bwrap-status.ts';
import { type SegmentEnd, type SegmentProcess, tooLong } from './segment.ts';

export interface BwrapSegment extends BwrapSpawn {
  /** What an end means, once no process of the sandbox is left. */
  judge(end: BwrapEnd): Promise<SegmentEnd>;
}

/** How one bwrap ended. */
export interface BwrapEnd extends BwrapExit {
  /** The command's, as bwrap's status has it. Absent: bwrap itself failed, or was killed. */
  readonly exitCode?: number;
  /** `terminate` or `kill` was called. */
  readonly killed: boolean;
}

// Of whose sandbox nothing is left: how long its bwrap may take to see that, and how long whoever is to tell of bwrap's end. What
// is stopped (SIGSTOP, a frozen cgroup) never does.
const bwrapPatienceMs = 1000;
const tellerPatienceMs = 3000;

/**
 * Starts one bwrap. An exit of bwrap is not believed by itself: a command can make it report one and go on
 * (PTRACE_TRACEME and SIGSTOP), so the end is when the sandbox's init is gone, which takes every process of its PID
 * namespace with it (pid_namespaces(7)). Throws what `spawn` throws.
 */
export function startBwrap(options: BwrapSegment): SegmentProcess {
  const built = Promise.withResolvers<boolean>();
  const initPid = Promise.withResolvers<number | undefined>();
  let status: BwrapStatus = {};
  let init: ProcessId | undefined;
  let asked: 'terminate' | 'kill' | undefined;
  const untold = Promise.withResolvers<BwrapExit>();
  let timers: readonly NodeJS.Timeout[] = [];
  const killInit = (process: ProcessId): void => {
    signalProcess(process, 'SIGKILL');
    if (timers.length > 0) return;
    timers = [
      setTimeout(() => bwrap.kill(), bwrapPatienceMs),
      setTimeout(() => untold.resolve({ code: null, signal: 'SIGKILL' }), tellerPatienceMs),
    ];
  };
  const act = (): void => {
    // Before bwrap has said which one is its init, killing bwrap alone would leave that behind.
    if (init === undefined || asked === undefined) return;
    const command = asked === 'terminate' ? findCommand(init) : undefined;
    if (command === undefined) killInit(init);
    else signalProcess(command, 'SIGTERM');
  };
  let text = '';
  const take = (chunk: string): void => {
    text += chunk;
    const isFirst = status.childPid === undefined;
    status = parseBwrapStatus(text);
    if (!isFirst || status.childPid === undefined) return;
    init = identifyInit(status.childPid);
    initPid.resolve(init?.pid);
    built.resolve(true);
    act();
  };
  // Without its status nobody could end it; with bwrap its sandbox ends (--die-with-parent).
  const onStatus = guarded(take, () => bwrap.kill());
  const bwrap = startBwrapProcess(options, onStatus);
  const ask = (wanted: 'terminate' | 'kill'): void => {
    if (asked !== 'kill') asked = wanted;
    act();
  };
  const ended = Promise.race([bwrap.exited, untold.promise]).then(async (exit): Promise<SegmentEnd> => {
    for (const timer of timers) clearTimeout(timer);
    built.resolve(false);
    initPid.resolve(undefined);
    if (init !== undefined) {
      signalProcess(init, 'SIGKILL');
      await waitUntilGone(init);
    }
    if (exit.errno === constants.errno.E2BIG) return tooLong(options.argv[0] ?? '');
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

// bwrap's child is pid 1 of its namespace. Anything else that has this pid came after it.
function identifyInit(pid: number): ProcessId | undefined {
  return innerPid(pid) === 1 ? identify(pid) : undefined;
}

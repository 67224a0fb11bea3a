import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { identify, isAlive, type ProcessId, parseStat, readStat } from '@csc-fleet/common/processes';

const soonMs = 0.6;

/** Resolves when it is gone. */
export async function waitUntilGone(process: ProcessId): Promise<void> {
  const { isAlive, close } = lookAt(process);
  try {
    // A sandbox's init takes half a millisecond from its SIGKILL to here, less than the shortest timer. Where the
    // processors are busy it takes several, and to look at every turn would keep one of them from it.
    const soon = performance.now() + soonMs;
    while (isAlive() && performance.now() < soon) await nextTurn();
    for (let delay = 1; isAlive(); delay = Math.min(delay * 2, 50)) await sleep(delay);
  } finally {
    close();
  }
}

// As in proc_pid_stat(5), with every number at its longest.
const statBytes = 2048;

/** `isAlive` for who asks often: the file stays that of this process, and nothing is there to read once it is gone (ESRCH). */
function lookAt({ pid, startTime }: ProcessId): { isAlive(): boolean; close(): void } {
  let fd: number | undefined;
  try {
    fd = openSync(`/proc/${pid}/stat`, 'r');
  } catch {
    return { isAlive: () => false, close: () => undefined };
  }
  const opened = fd;
  const bytes = Buffer.alloc(statBytes);
  return {
    isAlive() {
      try {
        const length = readSync(opened, bytes, 0, statBytes, 0);
        return parseStat(bytes.toString('latin1', 0, length))?.startTime === startTime;
      } catch {
        return false;
      }
    },
    close: () => closeSync(opened),
  };
}

/** Sends a signal to just this process; nothing where it is gone. */
export function signalProcess(target: ProcessId, signal: NodeJS.Signals): void {
  if (isAlive(target)) sendSignal(target.pid, signal);
}

/** `kill(2)` without an error for what is gone. A negative pid is a process group. */
export function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

/**
 * The command itself, seen from the host: the child of a sandbox's init that has pid 2 inside. Undefined where it has
 * not started yet or is gone.
 */
export function findCommand(init: ProcessId): ProcessId | undefined {
  return childrenOf(init.pid)
    .filter((pid) => innerPid(pid) === 2)
    .flatMap((pid) => identify(pid) ?? [])
    .at(0);
}

/** A process's pid in the innermost PID namespace that it belongs to; undefined where it is gone. */
export function innerPid(pid: number): number | undefined {
  return readPids(pid).at(-1);
}

/** Whether it lives in a PID namespace below this process's own. */
export function isNested(pid: number): boolean {
  return readPids(pid).length > 1;
}

// From the namespace of /proc itself to the innermost (proc_pid_status(5), NSpid).
function readPids(pid: number): number[] {
  const line = /^NSpid:\s+(.+)$/m.exec(readProc(`${pid}/status`) ?? '')?.[1];
  return line === undefined ? [] : line.split(/\s+/).map(Number);
}

// The kernel's own list where it keeps one (CONFIG_PROC_CHILDREN), else every process is asked for its parent.
function childrenOf(pid: number): number[] {
  const children = readProc(`${pid}/task/${pid}/children`);
  if (children !== undefined) return children.trim().split(' ').filter(Boolean).map(Number);
  return listProcesses().filter((candidate) => readStat(candidate)?.parent === pid);
}

/**
 * Processes, zombies aside, that have one of these user ids: the real, the effective, the saved or the file system's.
 * Does not hold up this process, however many others there are.
 */
async function findProcessesOf(uids: ReadonlySet<number>): Promise<ProcessId[]> {
  const found: ProcessId[] = [];
  for (const pid of listProcesses()) {
    // proc_pid_status(5). Not the owner of /proc/PID, which is root where a process has made itself undumpable.
    const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
    const ids = /^Uid:\s+(.+)$/m.exec(status)?.[1]?.split(/\s+/) ?? [];
    const process = ids.some((uid) => uids.has(Number(uid))) ? identify(pid) : undefined;
    if (process !== undefined) found.push(process);
  }
  return found;
}

/** A quick look for processes of a user, which does not see those that have made themselves undumpable. */
export function hasPlainProcess(uid: number): boolean {
  return listProcesses().some((pid) => statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid === uid);
}

/** The pids of all processes that this one can see. */
export function listProcesses(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** A variable of the environment that a process was started with (proc_pid_environ(5)); undefined where it cannot be seen. */
export function readVariable(pid: number, name: string): string | undefined {
  const variables = readProc(`${pid}/environ`)?.split('\0') ?? [];
  return variables.find((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1);
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'latin1');
  } catch {
    return undefined;
  }
}

// A process that the kernel cannot end now, as it waits for a disk, may be gone a moment later.
const patienceMs = 5000;

/**
 * SIGKILL to every process of these users, again and again, until there is none. Resolves to how many were found at
 * first, or to undefined where some cannot be ended.
 */
export async function endProcessesOf(uids: ReadonlySet<number>): Promise<number | undefined> {
  const end = performance.now() + patienceMs;
  let found = await findProcessesOf(uids);
  const first = found.length;
  while (found.length > 0) {
    if (performance.now() > end) return undefined;
    for (const process of found) signalProcess(process, 'SIGKILL');
    await sleep(1);
    found = await findProcessesOf(uids);
  }
  return first;
}

/** Calls `act` while this process has another umask, which what it starts inherits, and what it makes gets. */
export function withUmask<Value>(umask: number, act: () => Value): Value {
  // spawn(2) has forked and started the program by the time that it returns.
  const before = process.umask(umask);
  try {
    return act();
  } finally {
    process.umask(before);
  }
}

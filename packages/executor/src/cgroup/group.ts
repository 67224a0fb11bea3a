import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { sendSignal } from '../launch/processes.ts';
import type { CgroupMechanism } from '../sandbox/host-facts.ts';
import { type Controller, controllers } from './hierarchy.ts';
import type { Setting } from './settings.ts';

/** The directories of one group, by controller; with v2 they are one and the same. */
export type GroupDirectories = Readonly<Record<Controller, string>>;

/** The cgroup of one command. */
export interface RunGroup {
  /** Puts a process in, and with it whatever it starts from then on. Throws what the kernel says. */
  join(pid: number): void;
  /** What is in it now. */
  processes(): readonly number[];
  /** Processes of the group that the kernel has killed for want of memory. */
  oomKills(): number;
  /** Calls once, soon after the first such kill. With v2 the kernel itself then ends the whole group. */
  watchOom(onOom: () => void): void;
  /** SIGKILL to all that is in it. Resolves once it is empty. */
  kill(): Promise<void>;
  /** Removes it, empty. Does not reject: what cannot be removed is left to the next start's sweep. */
  remove(): Promise<void>;
}

/** Below `parent` in every hierarchy. */
export function below(parent: GroupDirectories, name: string): GroupDirectories {
  return {
    memory: join(parent.memory, name),
    pids: join(parent.pids, name),
    cpu: join(parent.cpu, name),
  };
}

function distinct(directories: GroupDirectories): string[] {
  return [...new Set(controllers.map((controller) => directories[controller]))];
}

/** Makes a group with its settings. Throws what the kernel says; nothing of it is left then. */
export function makeGroup(directories: GroupDirectories, settings: readonly Setting[]): void {
  try {
    for (const directory of distinct(directories)) mkdirSync(directory);
    for (const setting of settings) write(directories, setting);
  } catch (error) {
    removeNow(directories);
    throw error;
  }
}

function write(directories: GroupDirectories, { controller, file, value, optional }: Setting): void {
  try {
    // Without O_CREAT: the file is the kernel's, or it is not there.
    writeFileSync(join(directories[controller], file), value, { flag: 'r+' });
  } catch (error) {
    if (optional === true && (error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
}

/** Removes a group if it is empty and there. */
export function removeNow(directories: GroupDirectories): boolean {
  return distinct(directories).map(removeDirectory).every(Boolean);
}

function removeDirectory(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

// How often memory.oom_control is looked at. The kernel's own notice of it (eventfd) is out of Node's reach.
const oomPollMs = 200;
const removeAttempts = 200;

/** A group that was made, as its user sees it. */
export function openGroup(mechanism: CgroupMechanism, directories: GroupDirectories): RunGroup {
  let poll: NodeJS.Timeout | undefined;
  const oomKills = (): number => readOomKills(mechanism, directories.memory);
  return {
    join(pid) {
      for (const directory of distinct(directories)) {
        writeFileSync(join(directory, 'cgroup.procs'), String(pid), { flag: 'r+' });
      }
    },
    processes: () => listProcesses(directories),
    oomKills,
    watchOom(onOom) {
      if (mechanism === 'cgroup-v2') return;
      poll = setInterval(() => {
        if (oomKills() === 0) return;
        clearInterval(poll);
        onOom();
      }, oomPollMs);
      poll.unref();
    },
    kill: () => killGroup(directories),
    async remove() {
      clearInterval(poll);
      for (let attempt = 0; attempt < removeAttempts && !removeNow(directories); attempt += 1) {
        await (attempt < 20 ? nextTurn() : sleep(10));
      }
    },
  };
}

function readOomKills(mechanism: CgroupMechanism, directory: string): number {
  const file = mechanism === 'cgroup-v1' ? 'memory.oom_control' : 'memory.events';
  return Number(/^oom_kill (\d+)$/m.exec(read(join(directory, file)))?.[1] ?? 0);
}

/** SIGKILL to all that is in a group, until nothing is. */
export async function killGroup(directories: GroupDirectories): Promise<void> {
  for (let round = 0; ; round += 1) {
    const pids = listProcesses(directories);
    if (pids.length === 0) return;
    for (const pid of pids) sendSignal(pid, 'SIGKILL');
    await (round < 20 ? nextTurn() : sleep(5));
  }
}

function listProcesses(directories: GroupDirectories): number[] {
  return [...new Set(distinct(directories).flatMap(readProcesses))];
}

// Zombies are not in it (cgroups(7)). A pid of 0 is a process that this one's namespace does not show.
function readProcesses(directory: string): number[] {
  return read(join(directory, 'cgroup.procs'))
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

import { closeSync, constants, mkdirSync, openSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { sendSignal } from '../host/index.ts';
import {
  type CgroupMechanism,
  type Controller,
  controllers,
  readControl,
  tryWriteControl,
  writeControl,
} from './hierarchy.ts';
import type { Setting } from './settings.ts';

/** The directories of one group, by controller; with v2 they are one and the same. */
export type GroupDirectories = Readonly<Record<Controller, string>>;

/**
 * Of version 1: files to which a process of one thread writes "0", and is in. Of version 2, where that takes many
 * milliseconds: the directory, which a process can be made in (clone(2), CLONE_INTO_CGROUP).
 */
export interface GroupEntrance {
  readonly files: readonly number[];
  readonly directory?: number;
}

/** The cgroup of one command. */
export interface RunGroup {
  /** Puts a process in, and with it whatever it starts from then on. Throws what the kernel says. */
  join(pid: number): void;
  /** A way for a process to get in by itself. Throws what the kernel says; the caller closes all of it. */
  openEntrance(): GroupEntrance;
  /** What is in it now, as far as it can be read. */
  processes(): readonly number[];
  /** Processes of the group that the kernel has killed for want of memory. */
  oomKills(): number;
  /** Calls once, soon after the first such kill. With v2 the kernel itself then ends the whole group. */
  watchOom(onOom: () => void): void;
  /** Removes it, once SIGKILL has ended all that is in it. Resolves once it is empty. */
  end(): Promise<void>;
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
    writeControl(join(directories[controller], file), value);
  } catch (error) {
    if (optional === true && (error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
}

/** Removes a group if it is empty and there. False where something of it is still there. */
export function removeNow(directories: GroupDirectories): boolean {
  return distinct(directories).map(removeDirectory).every(Boolean);
}

/** Removes one directory of the kernel's if nothing is in it. False where it is still there. */
export function removeDirectory(directory: string): boolean {
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
        writeControl(join(directory, 'cgroup.procs'), String(pid));
      }
    },
    openEntrance: () => openEntrance(mechanism, distinct(directories)),
    processes: () => unite(distinct(directories).map(readProcesses)),
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
    async end() {
      clearInterval(poll);
      // The kernel removes no group that a process is in: nothing is left in nearly all.
      if (removeNow(directories)) return;
      await killGroup(directories);
      await removeEmpty(directories);
    },
    async remove() {
      clearInterval(poll);
      await removeEmpty(directories);
    },
  };
}

async function removeEmpty(directories: GroupDirectories): Promise<void> {
  for (let attempt = 0; attempt < removeAttempts && !removeNow(directories); attempt += 1) {
    await (attempt < 20 ? nextTurn() : sleep(10));
  }
}

function openEntrance(mechanism: CgroupMechanism, directories: readonly string[]): GroupEntrance {
  if (mechanism === 'cgroup-v2') {
    return {
      files: [],
      directory: openSync(directories[0] ?? '', constants.O_RDONLY | constants.O_DIRECTORY),
    };
  }
  const files: number[] = [];
  try {
    for (const directory of directories) files.push(openSync(join(directory, 'tasks'), constants.O_WRONLY));
    return { files };
  } catch (error) {
    for (const fd of files) closeSync(fd);
    throw error;
  }
}

function readOomKills(mechanism: CgroupMechanism, directory: string): number {
  const file = mechanism === 'cgroup-v1' ? 'memory.oom_control' : 'memory.events';
  return Number(/^oom_kill (\d+)$/m.exec(readControl(join(directory, file)) ?? '')?.[1] ?? 0);
}

/** SIGKILL to all that is in a group, until nothing is. */
export async function killGroup(directories: GroupDirectories): Promise<void> {
  const all = distinct(directories);
  for (let round = 0; ; round += 1) {
    const found = all.map(readProcesses);
    if (found.every((pids) => pids?.length === 0)) return;
    for (const directory of all) stopForks(directory);
    for (const pid of unite(found)) sendSignal(pid, 'SIGKILL');
    await (round < 20 ? nextTurn() : sleep(5));
  }
}

// With v1 a process is in each hierarchy.
function unite(found: readonly (readonly number[] | undefined)[]): number[] {
  return [...new Set(found.flatMap((pids) => pids ?? []))];
}

// Processes that fork faster than they are listed would otherwise get away. With v2 all is killed in one step as well.
// Where a hierarchy or a kernel does not have such a file, the signals have to do.
function stopForks(directory: string): void {
  tryWriteControl(join(directory, 'pids.max'), '0');
  tryWriteControl(join(directory, 'cgroup.kill'), '1');
}

// Zombies are not in it (cgroups(7)). A pid of 0 is a process that this one's namespace does not show. Undefined where
// it cannot be read: without descriptors to spare, for example, nothing says that the group is empty.
function readProcesses(directory: string): number[] | undefined {
  try {
    const pids = readFileSync(join(directory, 'cgroup.procs'), 'latin1').split('\n').map(Number);
    return pids.filter((pid) => pid > 0);
  } catch (error) {
    return isGone(error) ? [] : undefined;
  }
}

// ENODEV: it was removed between the opening of the file and the reading.
function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENODEV';
}

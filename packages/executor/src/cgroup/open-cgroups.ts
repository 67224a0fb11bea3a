import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { type Check, failed, passed } from '../sandbox/check.ts';
import type { CgroupMechanism } from '../sandbox/host-facts.ts';
import { below, type GroupDirectories, makeGroup, openGroup, type RunGroup, removeNow } from './group.ts';
import { findHierarchies, type Hierarchies } from './hierarchy.ts';
import { toJobsName } from './names.ts';
import { type GroupLimits, type Setting, toSettings, toWeight } from './settings.ts';

/** What all jobs together leave to the executor and to the rest of the host. */
export interface Reserve {
  readonly memory_bytes: number;
  /** Thousandths of a core. */
  readonly cpu_millis: number;
}

/** Where the groups of this executor's commands are made. */
export interface Cgroups {
  readonly mechanism: CgroupMechanism;
  /** What all groups together may use up; none may be given more. */
  readonly most: Pick<GroupLimits, 'memory_bytes' | 'cpu_millis'>;
  /** A fresh group, empty. Throws what the kernel says. */
  create(limits: GroupLimits): RunGroup;
  /** Gives the common group back. What is still in it is left to the next start's sweep. */
  close(): void;
}

const remedy =
  'start the executor as root, or as a systemd service with Delegate=cpu memory pids; in a container, make /sys/fs/cgroup writable; or set accept_rlimits_only: true to do without';

/** Which kind of cgroups this process can see; undefined where there is none that has memory, pids and cpu. */
export function findCgroupMechanism(): CgroupMechanism | undefined {
  return findOwn()?.mechanism;
}

/** Opens a common group of all jobs of this process. Throws SANDBOX_UNAVAILABLE with what to do. */
export function openCgroups({ reserve }: { readonly reserve: Reserve }): Cgroups {
  const hierarchies = findOwn();
  if (hierarchies === undefined)
    throw unavailable('this host has no cgroups with memory, pids and cpu controllers');
  const { mechanism } = hierarchies;
  const most = toCommonLimits(reserve);
  const jobs = makeJobsGroup(hierarchies, most);
  return {
    mechanism,
    most,
    create(limits) {
      const directories = below(jobs, `run-${randomBytes(6).toString('hex')}`);
      makeGroup(directories, toSettings(mechanism, limits));
      return openGroup(mechanism, directories);
    },
    close: () => void removeNow(jobs),
  };
}

/** Whether jobs can be put into cgroups here: really makes one. */
export function probeCgroups(): Check[] {
  try {
    const cgroups = openCgroups({ reserve: { memory_bytes: 0, cpu_millis: 0 } });
    try {
      const limits = { memory_bytes: 64 * 1024 * 1024, processes: 8, cpu_millis: 1000 };
      void cgroups.create(limits).remove();
    } finally {
      cgroups.close();
    }
    return [passed('cgroups', `${cgroups.mechanism}: memory, processes and cpu of jobs can be limited`)];
  } catch (error) {
    return [failed('cgroups', error instanceof Error ? error.message : String(error), remedy)];
  }
}

/** This process's own groups. */
export function findOwn(): Hierarchies | undefined {
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  };
  const [mounts, self] = [read('/proc/self/mountinfo'), read('/proc/self/cgroup')];
  if (mounts === undefined || self === undefined) return undefined;
  return findHierarchies(mounts, self, (directory) => read(join(directory, 'cgroup.controllers')));
}

function makeJobsGroup(hierarchies: Hierarchies, most: Cgroups['most']): GroupDirectories {
  const { mechanism } = hierarchies;
  const settings = [...toSettings(mechanism, most), toWeight(mechanism)];
  const name = toJobsName();
  try {
    return mechanism === 'cgroup-v1'
      ? makeBelow(hierarchies.own, name, settings)
      : makeV2Jobs(hierarchies, name, settings);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw unavailable(`no ${mechanism} group can be made for jobs: ${code ?? message}`, cause);
  }
}

function makeBelow(parent: GroupDirectories, name: string, settings: readonly Setting[]): GroupDirectories {
  const directories = below(parent, name);
  makeGroup(directories, settings);
  return directories;
}

/**
 * What all jobs together may use up beside a reserve. In a container, for example, the executor's own group allows less
 * than the host has.
 */
export function toCommonLimits({ memory_bytes, cpu_millis }: Reserve): Cgroups['most'] {
  const constrained = process.constrainedMemory();
  const total = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return {
    memory_bytes: Math.max(leastMemory, total - memory_bytes),
    cpu_millis: Math.max(leastCpuMillis, availableParallelism() * 1000 - cpu_millis),
  };
}

const leastMemory = 64 * 1024 * 1024;
const leastCpuMillis = 100;
const enableAll = '+cpu +memory +pids';

// A group with groups below it may hold no processes itself (cgroup-v2.rst, "No Internal Process Constraint"). So the
// executor moves into a leaf of its own group, where that is its alone; else root goes to the hierarchy's root.
function makeV2Jobs(
  { own, mounts }: Hierarchies,
  name: string,
  settings: readonly Setting[],
): GroupDirectories {
  try {
    moveIntoLeaf(own.memory);
    return makeV2Parent(own, name, settings);
  } catch (error) {
    if (process.getuid?.() !== 0) throw error;
    return makeV2Parent(mounts, name, settings);
  }
}

function moveIntoLeaf(own: string): void {
  const leaf = join(own, `csc-executor-${process.pid}`);
  mkdirSync(leaf, { recursive: true });
  try {
    writeFileSync(join(leaf, 'cgroup.procs'), String(process.pid), { flag: 'r+' });
    writeFileSync(join(own, 'cgroup.subtree_control'), enableAll, { flag: 'r+' });
  } catch (error) {
    writeFileSync(join(own, 'cgroup.procs'), String(process.pid), { flag: 'r+' });
    rmdirSync(leaf);
    throw error;
  }
}

function makeV2Parent(
  parent: GroupDirectories,
  name: string,
  settings: readonly Setting[],
): GroupDirectories {
  writeFileSync(join(parent.memory, 'cgroup.subtree_control'), enableAll, { flag: 'r+' });
  const directories = makeBelow(parent, name, settings);
  writeFileSync(join(directories.memory, 'cgroup.subtree_control'), enableAll, { flag: 'r+' });
  return directories;
}

function unavailable(what: string, cause?: unknown): CscError {
  return new CscError('SANDBOX_UNAVAILABLE', `${what}; ${remedy}`, { cause });
}

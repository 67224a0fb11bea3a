import { availableParallelism, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { type CgroupMechanism, findHierarchies, type Hierarchies, readControl } from './hierarchy.ts';
import type { CommonLimits } from './settings.ts';

/** What all jobs together leave to the executor and to the rest of the host. */
export interface Reserve {
  readonly memory_bytes: number;
  /** Thousandths of a core. */
  readonly cpu_millis: number;
}

/** This process's own groups; undefined where there are none that have memory, pids and cpu. */
export function findOwn(): Hierarchies | undefined {
  const [mounts, self] = [readControl('/proc/self/mountinfo'), readControl('/proc/self/cgroup')];
  if (mounts === undefined || self === undefined) return undefined;
  return findHierarchies(mounts, self, (directory) => readControl(join(directory, 'cgroup.controllers')));
}

/** Which kind of cgroups this process can see; undefined where there is none that has memory, pids and cpu. */
export function findCgroupMechanism(): CgroupMechanism | undefined {
  return findOwn()?.mechanism;
}

const leastMemory = 64 * 1024 * 1024;
const leastCpuMillis = 100;

/**
 * What all jobs together may use up beside a reserve. In a container, for example, the executor's own group allows less
 * than the host has.
 */
export function toCommonLimits(reserve: Reserve, own: Hierarchies | undefined = findOwn()): CommonLimits {
  const constrained = process.constrainedMemory();
  const memory = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  const cpuMillis = Math.min(availableParallelism() * 1000, readCpuMillis(own));
  return {
    memory_bytes: Math.max(leastMemory, memory - reserve.memory_bytes),
    // Never more than there is: v1 takes no quota above that of a group further up (EINVAL).
    cpu_millis: Math.min(cpuMillis, Math.max(leastCpuMillis, cpuMillis - reserve.cpu_millis)),
  };
}

// The least of what this process's group and those above it allow, as far up as can be seen.
function readCpuMillis(own: Hierarchies | undefined): number {
  if (own === undefined) return Number.POSITIVE_INFINITY;
  const top = own.mounts.cpu;
  let least = Number.POSITIVE_INFINITY;
  for (let group = own.own.cpu; group.startsWith(top); group = dirname(group)) {
    least = Math.min(least, readQuota(own.mechanism, group));
  }
  return least;
}

function readQuota(mechanism: CgroupMechanism, group: string): number {
  const [quota, period] =
    mechanism === 'cgroup-v1'
      ? [readControl(join(group, 'cpu.cfs_quota_us')), readControl(join(group, 'cpu.cfs_period_us'))]
      : (readControl(join(group, 'cpu.max'))?.split(' ') ?? []);
  const millis = Math.floor((Number(quota) * 1000) / Number(period));
  // No limit is -1 with v1 and "max" with v2; the topmost group has no such file.
  return millis >= 0 ? millis : Number.POSITIVE_INFINITY;
}

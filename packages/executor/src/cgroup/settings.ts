import type { CgroupMechanism } from '../sandbox/host-facts.ts';
import type { Controller } from './hierarchy.ts';

/** What all processes of a group may use up together. */
export interface GroupLimits {
  readonly memory_bytes: number;
  readonly processes: number;
  /** Thousandths of a core. */
  readonly cpu_millis: number;
}

/** One file of a group to write. */
export interface Setting {
  readonly controller: Controller;
  readonly file: string;
  readonly value: string;
  /** Where the kernel was built or booted without it, the group does without it too. */
  readonly optional?: true;
}

// The period over which the share of a core is measured out, in microseconds, and the least that the kernel takes.
const periodUs = 100_000;
const leastQuotaUs = 1000;

/** How a group is limited, in the order of writing. Pure. See cgroup-v1/memory.rst, cgroup-v2.rst of the kernel. */
export function toSettings(mechanism: CgroupMechanism, limits: Partial<GroupLimits>): Setting[] {
  const { memory_bytes, processes, cpu_millis } = limits;
  const own = mechanism === 'cgroup-v1' ? v1 : v2;
  return [
    ...(memory_bytes === undefined ? [] : own.memory(memory_bytes)),
    ...(processes === undefined
      ? []
      : [{ controller: 'pids', file: 'pids.max', value: String(processes) } as const]),
    ...(cpu_millis === undefined
      ? []
      : own.cpu(Math.max(leastQuotaUs, Math.round((cpu_millis * periodUs) / 1000)))),
  ];
}

/** How all jobs stand against the executor where both want the processors: it has twice the weight of all of them. */
export function toWeight(mechanism: CgroupMechanism): Setting {
  return mechanism === 'cgroup-v1'
    ? { controller: 'cpu', file: 'cpu.shares', value: '512' }
    : { controller: 'cpu', file: 'cpu.weight', value: '50' };
}

const v1 = {
  memory: (bytes: number): Setting[] => [
    { controller: 'memory', file: 'memory.limit_in_bytes', value: String(bytes) },
    // Memory and swap together, so that swap adds nothing. Only with swap accounting.
    { controller: 'memory', file: 'memory.memsw.limit_in_bytes', value: String(bytes), optional: true },
  ],
  cpu: (quota: number): Setting[] => [
    { controller: 'cpu', file: 'cpu.cfs_period_us', value: String(periodUs) },
    { controller: 'cpu', file: 'cpu.cfs_quota_us', value: String(quota) },
  ],
};

const v2 = {
  memory: (bytes: number): Setting[] => [
    { controller: 'memory', file: 'memory.max', value: String(bytes) },
    { controller: 'memory', file: 'memory.swap.max', value: '0', optional: true },
    // Out of memory, the group ends as a whole.
    { controller: 'memory', file: 'memory.oom.group', value: '1' },
  ],
  cpu: (quota: number): Setting[] => [{ controller: 'cpu', file: 'cpu.max', value: `${quota} ${periodUs}` }],
};

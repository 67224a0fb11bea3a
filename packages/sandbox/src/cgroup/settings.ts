import type { CgroupMechanism, Controller } from './hierarchy.ts';

/** What all processes of a group may use up together. */
export interface GroupLimits {
  readonly memory_bytes: number;
  readonly processes: number;
  /** Thousandths of a core. */
  readonly cpu_millis: number;
}

/** What all groups of an executor may use up together. */
export type CommonLimits = Pick<GroupLimits, 'memory_bytes' | 'cpu_millis'>;

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

/**
 * How the group of one command is limited, in the order of writing. Pure. See cgroup-v1/memory.rst and cgroup-v2.rst of
 * the kernel.
 */
export function toSettings(mechanism: CgroupMechanism, limits: GroupLimits): Setting[] {
  const { memory, cpu, oomGroup } = drivers[mechanism];
  return [
    ...memory(limits.memory_bytes),
    ...oomGroup,
    { controller: 'pids', file: 'pids.max', value: String(limits.processes) },
    ...cpu(toQuota(limits.cpu_millis)),
  ];
}

/**
 * How the common group is. Where both want the processors, the executor has twice the weight of all jobs. Out of memory
 * it does not end as a whole: that would be every command for the sake of one.
 */
export function toCommonSettings(mechanism: CgroupMechanism, limits: CommonLimits): Setting[] {
  const { memory, cpu, halfWeight } = drivers[mechanism];
  return [...memory(limits.memory_bytes), ...cpu(toQuota(limits.cpu_millis)), halfWeight];
}

function toQuota(cpuMillis: number): number {
  return Math.max(leastQuotaUs, Math.round((cpuMillis * periodUs) / 1000));
}

interface Driver {
  memory(bytes: number): Setting[];
  /** @param quota microseconds a period */
  cpu(quota: number): Setting[];
  /** Out of memory, the group ends as a whole. */
  readonly oomGroup: readonly Setting[];
  readonly halfWeight: Setting;
}

const v1: Driver = {
  memory: (bytes) => [
    { controller: 'memory', file: 'memory.limit_in_bytes', value: String(bytes) },
    // Memory and swap together, so that swap adds nothing. Only with swap accounting.
    { controller: 'memory', file: 'memory.memsw.limit_in_bytes', value: String(bytes), optional: true },
  ],
  cpu: (quota) => [
    { controller: 'cpu', file: 'cpu.cfs_period_us', value: String(periodUs) },
    { controller: 'cpu', file: 'cpu.cfs_quota_us', value: String(quota) },
  ],
  oomGroup: [],
  halfWeight: { controller: 'cpu', file: 'cpu.shares', value: '512' },
};

const v2: Driver = {
  memory: (bytes) => [
    { controller: 'memory', file: 'memory.max', value: String(bytes) },
    { controller: 'memory', file: 'memory.swap.max', value: '0', optional: true },
  ],
  cpu: (quota) => [{ controller: 'cpu', file: 'cpu.max', value: `${quota} ${periodUs}` }],
  oomGroup: [{ controller: 'memory', file: 'memory.oom.group', value: '1' }],
  halfWeight: { controller: 'cpu', file: 'cpu.weight', value: '50' },
};

const drivers = { 'cgroup-v1': v1, 'cgroup-v2': v2 } as const;

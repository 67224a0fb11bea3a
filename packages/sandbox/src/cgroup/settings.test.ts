import { describe, expect, it } from 'vitest';
import { type Setting, toCommonSettings, toSettings } from './settings.ts';

const limits = { memory_bytes: 1 << 26, processes: 9, cpu_millis: 1500 };
const written = (settings: readonly Setting[]) =>
  settings.map(({ controller, file, value }) => `${controller} ${file}=${value}`);

describe('toSettings', () => {
  it('limits a v1 group, swap included', () => {
    expect(written(toSettings('cgroup-v1', limits))).toEqual([
      'memory memory.limit_in_bytes=67108864',
      'memory memory.memsw.limit_in_bytes=67108864',
      'pids pids.max=9',
      'cpu cpu.cfs_period_us=100000',
      'cpu cpu.cfs_quota_us=150000',
    ]);
  });

  it('limits a v2 group, which ends as a whole when it is out of memory', () => {
    expect(written(toSettings('cgroup-v2', limits))).toEqual([
      'memory memory.max=67108864',
      'memory memory.swap.max=0',
      'memory memory.oom.group=1',
      'pids pids.max=9',
      'cpu cpu.max=150000 100000',
    ]);
  });

  it('never gives less of a core than the kernel takes', () => {
    expect(toSettings('cgroup-v2', { ...limits, cpu_millis: 1 }).at(-1)?.value).toBe('1000 100000');
  });
});

describe('toCommonSettings', () => {
  it('bounds all jobs of v1 with half of the executor’s weight', () => {
    expect(written(toCommonSettings('cgroup-v1', limits))).toEqual([
      'memory memory.limit_in_bytes=67108864',
      'memory memory.memsw.limit_in_bytes=67108864',
      'cpu cpu.cfs_period_us=100000',
      'cpu cpu.cfs_quota_us=150000',
      'cpu cpu.shares=512',
    ]);
  });

  it('does not end all jobs of v2 where one of them is too many', () => {
    expect(written(toCommonSettings('cgroup-v2', limits))).toEqual([
      'memory memory.max=67108864',
      'memory memory.swap.max=0',
      'cpu cpu.max=150000 100000',
      'cpu cpu.weight=50',
    ]);
  });
});

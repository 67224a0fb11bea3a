import { describe, expect, it } from 'vitest';
import { toSettings } from './settings.ts';

const limits = { memory_bytes: 1 << 26, processes: 9, cpu_millis: 1500 };
const written = (mechanism: 'cgroup-v1' | 'cgroup-v2') =>
  toSettings(mechanism, limits).map(({ controller, file, value }) => `${controller} ${file}=${value}`);

describe('toSettings', () => {
  it('limits a v1 group, swap included', () => {
    expect(written('cgroup-v1')).toEqual([
      'memory memory.limit_in_bytes=67108864',
      'memory memory.memsw.limit_in_bytes=67108864',
      'pids pids.max=9',
      'cpu cpu.cfs_period_us=100000',
      'cpu cpu.cfs_quota_us=150000',
    ]);
  });

  it('limits a v2 group, which ends as a whole when it is out of memory', () => {
    expect(written('cgroup-v2')).toEqual([
      'memory memory.max=67108864',
      'memory memory.swap.max=0',
      'memory memory.oom.group=1',
      'pids pids.max=9',
      'cpu cpu.max=150000 100000',
    ]);
  });

  it('never gives less of a core than the kernel takes', () => {
    expect(toSettings('cgroup-v2', { cpu_millis: 1 })).toMatchObject([{ value: '1000 100000' }]);
  });
});

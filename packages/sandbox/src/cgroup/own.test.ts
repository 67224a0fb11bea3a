import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { everywhere, ownGroups } from '@csc-fleet/test-kit/sandbox/cgroups';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { below, makeGroup, removeNow } from './group.ts';
import type { Hierarchies } from './hierarchy.ts';
import { findOwn, toCommonLimits } from './own.ts';
import { toCommonSettings } from './settings.ts';

const reserve = { memory_bytes: 1 << 28, cpu_millis: 100 };

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'csc-cgroup-'));
});
afterAll(() => rmSync(root, { recursive: true }));

/** A process's group two levels below the topmost, each with these files. */
function place(mechanism: 'cgroup-v1' | 'cgroup-v2', levels: readonly Record<string, string>[]): Hierarchies {
  const top = mkdtempSync(join(root, 'top-'));
  let group = top;
  for (const files of levels) {
    group = join(group, 'group');
    mkdirSync(group);
    for (const [file, text] of Object.entries(files)) writeFileSync(join(group, file), `${text}\n`);
  }
  return { mechanism, own: everywhere(group), mounts: everywhere(top) };
}

const v1Quota = (quota: string) => ({ 'cpu.cfs_quota_us': quota, 'cpu.cfs_period_us': '100000' });

describe('toCommonLimits', () => {
  it('leaves the reserve', () => {
    const all = toCommonLimits({ memory_bytes: 0, cpu_millis: 0 });
    const most = toCommonLimits(reserve);
    expect(all.memory_bytes - most.memory_bytes).toBe(reserve.memory_bytes);
    expect(all.cpu_millis - most.cpu_millis).toBe(reserve.cpu_millis);
  });

  it('heeds the least share of a processor that a v1 group above allows', () => {
    const own = place('cgroup-v1', [v1Quota('50000'), v1Quota('-1')]);
    expect(toCommonLimits(reserve, own).cpu_millis).toBe(400);
  });

  it('heeds the least share of a processor that a v2 group above allows', () => {
    const own = place('cgroup-v2', [{ 'cpu.max': '70000 100000' }, { 'cpu.max': '15000 50000' }]);
    expect(toCommonLimits(reserve, own).cpu_millis).toBe(200);
    const free = place('cgroup-v2', [{ 'cpu.max': 'max 100000' }]);
    expect(toCommonLimits(reserve, free)).toEqual(toCommonLimits(reserve, undefined));
  });

  it('never says more than there is, however little that may be', () => {
    const own = place('cgroup-v1', [v1Quota('5000')]);
    expect(toCommonLimits(reserve, own).cpu_millis).toBe(50);
  });

  it('says what the kernel takes where this process itself is held to half a processor', () => {
    const own = ownGroups();
    const holder = below(own, `csc-test-half-${process.pid}`);
    makeGroup(holder, [{ controller: 'cpu', file: 'cpu.cfs_quota_us', value: '50000' }]);
    const jobs = below(holder, 'jobs');
    try {
      const mounts = findOwn()?.mounts ?? own;
      const most = toCommonLimits(reserve, { mechanism: 'cgroup-v1', own: holder, mounts });
      makeGroup(jobs, toCommonSettings('cgroup-v1', most));
      expect(most.cpu_millis).toBe(400);
    } finally {
      removeNow(jobs);
      expect(removeNow(holder)).toBe(true);
    }
  });
});

import { readlinkSync } from 'node:fs';
import { isAlive } from '@csc-fleet/common/processes';
import { describe, expect, it } from 'vitest';
import { findOwner, toJobsName, toLeafName } from './names.ts';

const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '';

describe('findOwner', () => {
  it('finds this process in the names that it gives', () => {
    const jobs = findOwner(toJobsName());
    expect(jobs).toMatchObject({ kind: 'jobs', process: { pid: process.pid } });
    expect(findOwner(toLeafName())).toMatchObject({ kind: 'executor', process: { pid: process.pid } });
    expect(jobs !== undefined && isAlive(jobs.process)).toBe(true);
  });

  it('finds nobody where a pid is one of another namespace', () => {
    expect(findOwner(`csc-jobs-1-2-${namespace}-0a`)).toEqual({
      kind: 'jobs',
      process: { pid: 1, startTime: '2' },
    });
    expect(findOwner(`csc-jobs-1-2-${namespace}1-0a`)).toBeUndefined();
  });

  it.each(['', 'system.slice', 'csc-jobs-', `x-csc-jobs-1-2-${namespace}`, `csc-jobs-1-2-${namespace}-x.y`])(
    'finds nobody in %j',
    (name) => {
      expect(findOwner(name)).toBeUndefined();
    },
  );
});

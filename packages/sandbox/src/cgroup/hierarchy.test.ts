import { describe, expect, it } from 'vitest';
import { findHierarchies } from './hierarchy.ts';

const v1Mounts = [
  '29 23 0:25 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755',
  '30 29 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
  '31 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
  '32 29 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
  '33 29 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids',
].join('\n');
const v1Self = [
  '4:memory:/system.slice/x',
  '3:pids:/system.slice/x',
  '2:cpu,cpuacct:/',
  '0::/system.slice/x',
];
const v2Mounts = '29 23 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate';

const all = () => 'cpuset cpu io memory pids\n';
const none = () => undefined;

describe('findHierarchies', () => {
  it('finds v1, also where an empty v2 tree is mounted beside it', () => {
    expect(findHierarchies(v1Mounts, v1Self.join('\n'), () => '')).toEqual({
      mechanism: 'cgroup-v1',
      own: {
        memory: '/sys/fs/cgroup/memory/system.slice/x',
        pids: '/sys/fs/cgroup/pids/system.slice/x',
        cpu: '/sys/fs/cgroup/cpu,cpuacct',
      },
      mounts: {
        memory: '/sys/fs/cgroup/memory',
        pids: '/sys/fs/cgroup/pids',
        cpu: '/sys/fs/cgroup/cpu,cpuacct',
      },
    });
  });

  it('finds v2, where all is one', () => {
    const own = '/sys/fs/cgroup/system.slice/csc-executor.service';
    const found = findHierarchies(v2Mounts, '0::/system.slice/csc-executor.service\n', all);
    expect(found).toMatchObject({ mechanism: 'cgroup-v2', own: { memory: own, pids: own, cpu: own } });
  });

  it('understands a container that sees a part of the hierarchy only', () => {
    const mounts = v1Mounts.replaceAll(' / /sys/fs/cgroup/', ' /docker/ab /sys/fs/cgroup/');
    const self = '4:memory:/docker/ab\n3:pids:/docker/ab/sub\n2:cpu,cpuacct:/docker/ab';
    expect(findHierarchies(mounts, self, none)?.own).toEqual({
      memory: '/sys/fs/cgroup/memory',
      pids: '/sys/fs/cgroup/pids/sub',
      cpu: '/sys/fs/cgroup/cpu,cpuacct',
    });
  });

  it('finds a v2 group of a container with a cgroup namespace, and blanks in a path', () => {
    const mounts = '40 30 0:25 / /sys/fs/cg\\040roup rw,nosuid - cgroup2 cgroup rw,nsdelegate';
    const found = findHierarchies(mounts, '0::/\n', all);
    expect(found).toMatchObject({ own: { cpu: '/sys/fs/cg roup' }, mounts: { cpu: '/sys/fs/cg roup' } });
  });

  it('finds v2 beside hierarchies of v1 that have none of the controllers', () => {
    const mounts = [
      '31 29 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd',
      '30 29 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
    ].join('\n');
    const found = findHierarchies(mounts, '1:name=systemd:/x:y\n0::/x:y\n', all);
    expect(found).toMatchObject({ mechanism: 'cgroup-v2', own: { pids: '/sys/fs/cgroup/unified/x:y' } });
  });

  it('finds none where a controller is missing', () => {
    const without = v1Mounts.split('\n').filter((line) => !line.endsWith('pids'));
    expect(findHierarchies(without.join('\n'), v1Self.join('\n'), () => '')).toBeUndefined();
    expect(findHierarchies(v2Mounts, '0::/x', () => 'cpu memory')).toBeUndefined();
    expect(findHierarchies('', '', all)).toBeUndefined();
  });
});

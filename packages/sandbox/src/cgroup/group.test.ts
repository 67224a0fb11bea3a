import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import {
  everywhere,
  ownGroups,
  readMembers,
  startPython,
  untilEnd,
  v2Mount,
} from '@csc-fleet/test-kit/sandbox/cgroups';
import { afterEach, describe, expect, it } from 'vitest';
import { below, type GroupDirectories, killGroup, makeGroup, openGroup } from './group.ts';

// Each leaves its group's parent, ignores SIGTERM and lets go of its output.
const daemons = `import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(5):
  if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
      os.closerange(0, 3)
      time.sleep(60)
    os._exit(0)
for _ in range(5): os.wait()`;

// Twenty that live only until each has a follower.
const chains = `import os
for _ in range(20):
  if os.fork() == 0:
    os.closerange(0, 3)
    while True:
      if os.fork() > 0: os._exit(0)`;

const made: GroupDirectories[] = [];
function makeTestGroup(parent: GroupDirectories): GroupDirectories {
  const directories = below(parent, `csc-test-${randomBytes(6).toString('hex')}`);
  makeGroup(directories, []);
  made.push(directories);
  return directories;
}
afterEach(async () => {
  for (const directories of made.splice(0)) {
    await killGroup(directories);
    await openGroup('cgroup-v1', directories).remove();
  }
});

describe.each([
  { mechanism: 'cgroup-v1', parent: ownGroups },
  { mechanism: 'cgroup-v2', parent: () => everywhere(v2Mount()) },
] as const)('a group of $mechanism', ({ mechanism, parent }) => {
  it('has what a process starts after it has joined, and empties whatever that does against it', async () => {
    const directories = makeTestGroup(parent());
    const group = openGroup(mechanism, directories);
    const { child, pid, proceed } = startPython(daemons);
    group.join(pid);
    expect(group.processes()).toEqual([pid]);
    proceed();
    await untilEnd(child);
    expect(group.processes()).toHaveLength(5);
    expect(readMembers(directories.pids)).toHaveLength(5);
    expect(readMembers(directories.memory)).toHaveLength(5);
    await group.end();
    // The kernel removes no group that a process is in.
    expect(existsSync(directories.pids)).toBe(false);
    expect(group.processes()).toEqual([]);
  });

  it('empties where processes fork faster than they can be listed', async () => {
    const directories = makeTestGroup(parent());
    const group = openGroup(mechanism, directories);
    const { child, pid, proceed } = startPython(chains);
    group.join(pid);
    proceed();
    await untilEnd(child);
    await group.end();
    expect(existsSync(directories.pids)).toBe(false);
  });

  it('is gone after its removal, and may be removed again', async () => {
    const directories = makeTestGroup(parent());
    const group = openGroup(mechanism, directories);
    await group.remove();
    await group.remove();
    await group.end();
    expect([directories.memory, directories.pids, directories.cpu].filter(existsSync)).toEqual([]);
  });

  it('refuses a process that is not there', () => {
    const group = openGroup(mechanism, makeTestGroup(parent()));
    // Above PID_MAX_LIMIT.
    expect(() => group.join(2 ** 22 + 1)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
  });
});

describe('a v2 group', () => {
  it('counts what the kernel has killed', () => {
    const root = mkdtempSync(join(tmpdir(), 'csc-cgroup-'));
    try {
      const group = openGroup('cgroup-v2', everywhere(root));
      expect(group.oomKills()).toBe(0);
      writeFileSync(join(root, 'memory.events'), 'low 0\noom 1\noom_kill 3\noom_group_kill 1\n');
      expect(group.oomKills()).toBe(3);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

describe('killGroup', () => {
  it('does not take a group for empty that cannot be read', async () => {
    const root = mkdtempSync(join(tmpdir(), 'csc-cgroup-'));
    try {
      const processes = join(root, 'cgroup.procs');
      mkdirSync(processes);
      let over = false;
      const killed = killGroup(everywhere(root)).then(() => {
        over = true;
      });
      // It has looked by then.
      await setImmediate();
      expect(over).toBe(false);
      rmdirSync(processes);
      await killed;
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

describe('makeGroup', () => {
  it('leaves nothing where the kernel does not take a setting, and says which', () => {
    const directories = below(ownGroups(), `csc-test-${randomBytes(6).toString('hex')}`);
    const settings = [{ controller: 'pids', file: 'pids.max', value: '-5' }] as const;
    expect(() => makeGroup(directories, settings)).toThrow(
      expect.objectContaining({ code: 'EINVAL', path: join(directories.pids, 'pids.max') }),
    );
    expect([directories.memory, directories.pids, directories.cpu].filter(existsSync)).toEqual([]);
  });

  it('does without a file that is optional, and only then', () => {
    const directories = below(ownGroups(), `csc-test-${randomBytes(6).toString('hex')}`);
    const setting = { controller: 'memory', file: 'memory.unheard_of', value: '1' } as const;
    makeGroup(directories, [{ ...setting, optional: true }]);
    made.push(directories);
    expect(() => makeGroup(below(directories, 'inner'), [setting])).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    );
  });
});

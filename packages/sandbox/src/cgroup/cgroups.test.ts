import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { ownGroups, startPython, untilEnd } from '@csc-fleet/test-kit/sandbox/cgroups';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Cgroups, openCgroups, probeCgroups, toReason } from './open-cgroups.ts';
import { findCgroupMechanism } from './own.ts';

let cgroups: Cgroups;
beforeAll(() => {
  cgroups = openCgroups({ reserve: { memory_bytes: 1 << 28, cpu_millis: 100 } });
});
afterAll(() => {
  cgroups.close();
  expect(commonGroups('pids')).toEqual([]);
});

const limits = { memory_bytes: 64 << 20, processes: 40, cpu_millis: 500 };

/** Runs a Python program in a fresh group. */
async function run(program: string, changes: Partial<typeof limits> = {}) {
  const group = cgroups.create({ ...limits, ...changes });
  const { child, pid, proceed } = startPython(program);
  group.join(pid);
  proceed();
  return { group, ...(await untilEnd(child)) };
}

function processGroups(controller: 'memory' | 'pids' | 'cpu'): string[] {
  const own = ownGroups()[controller];
  return readdirSync(own)
    .filter((name) => name.startsWith(`csc-jobs-${process.pid}-`))
    .map((name) => join(own, name));
}

// Test files share a process: another one's executor may have a group that is not this file's.
const others = new Set((['memory', 'pids', 'cpu'] as const).flatMap(processGroups));

/** This file's common groups that are there now. */
function commonGroups(controller: 'memory' | 'pids' | 'cpu'): string[] {
  return processGroups(controller).filter((path) => !others.has(path));
}

/** The run groups in them. */
function runGroups(controller: 'memory' | 'pids' | 'cpu'): string[] {
  return commonGroups(controller).flatMap((directory) =>
    readdirSync(directory)
      .filter((name) => name.startsWith('run-'))
      .map((name) => join(directory, name)),
  );
}

// What is read here is version 1's own; with version 2 the common group is made by moving processes.
it.runIf(findCgroupMechanism() === 'cgroup-v1')(
  'comes back where somebody has taken the common group away',
  async () => {
    for (const controller of ['memory', 'pids', 'cpu'] as const)
      for (const path of commonGroups(controller)) rmdirSync(path);
    expect(commonGroups('pids')).toEqual([]);
    const { group, code } = await run('print(1)');
    expect(code).toBe(0);
    await group.end();
  },
);

describe('a group of a run', () => {
  it('stops a program that makes too many processes', async () => {
    const bomb =
      'import os\nmade = 0\ntry:\n while True:\n  if os.fork() == 0:\n   import time; os.closerange(0, 3); time.sleep(60)\n  made += 1\nexcept OSError as error: print(made, error.errno)';
    const { group, stdout } = await run(bomb);
    // EAGAIN.
    expect(stdout).toBe('39 11\n');
    await group.end();
  });

  it('ends a program that takes too much memory, and says so', async () => {
    const { group, signal } = await run('data = bytearray(200 << 20)');
    expect(signal).toBe('SIGKILL');
    expect(group.oomKills()).toBeGreaterThan(0);
    await group.end();
  });

  it('says nothing of memory where a program was ended otherwise', async () => {
    const { group, signal } = await run('import os, signal; os.kill(os.getpid(), signal.SIGKILL)');
    expect(signal).toBe('SIGKILL');
    expect(group.oomKills()).toBe(0);
    await group.end();
  });

  it('tells of memory that ran out while its first process goes on', async () => {
    const group = cgroups.create(limits);
    const { child, pid, proceed } = startPython(
      'import subprocess, time\nsubprocess.run([sys.executable, "-c", "bytearray(200 << 20)"])\ntime.sleep(60)',
    );
    group.join(pid);
    const told = new Promise<void>((resolve) => group.watchOom(resolve));
    proceed();
    await told;
    expect([child.exitCode, child.signalCode]).toEqual([null, null]);
    const end = untilEnd(child);
    await group.end();
    expect((await end).signal).toBe('SIGKILL');
  });

  it('holds back a program that wants all of a processor', async () => {
    const { group } = await run('import time\nend = time.time() + 0.6\nwhile time.time() < end: pass', {
      cpu_millis: 100,
    });
    const [own = ''] = runGroups('cpu');
    const statistics = readFileSync(join(own, 'cpu.stat'), 'utf8');
    expect(Number(/^nr_throttled (\d+)$/m.exec(statistics)?.[1])).toBeGreaterThan(0);
    await group.end();
  });

  it('leaves nothing, whatever its processes do against their end', async () => {
    const { group } = await run('import os, time\nif os.fork() == 0: os.closerange(0, 3); time.sleep(60)');
    expect(runGroups('pids')).toHaveLength(1);
    await group.end();
    expect([...runGroups('memory'), ...runGroups('pids'), ...runGroups('cpu')]).toEqual([]);
  });

  it('is not made with limits that the kernel does not take', () => {
    expect(() => cgroups.create({ ...limits, processes: -5 })).toThrow();
    expect(runGroups('pids')).toEqual([]);
  });
});

describe('the common group', () => {
  it('has half of the weight that the executor has, and the most that all may use', () => {
    const [memory = ''] = commonGroups('memory');
    const [cpu = ''] = commonGroups('cpu');
    expect(readFileSync(join(cpu, 'cpu.shares'), 'utf8')).toBe('512\n');
    expect(readFileSync(join(cpu, 'cpu.cfs_quota_us'), 'utf8')).toBe(`${cgroups.most.cpu_millis * 100}\n`);
    // The kernel counts in pages.
    expect(Number(readFileSync(join(memory, 'memory.limit_in_bytes'), 'utf8'))).toBe(
      Math.floor(cgroups.most.memory_bytes / 4096) * 4096,
    );
  });
});

describe('probeCgroups', () => {
  it('really makes a group here, and leaves nothing of it', () => {
    expect(probeCgroups()).toMatchObject([{ name: 'cgroups', ok: true }]);
    expect(commonGroups('pids')).toHaveLength(1);
    expect(commonGroups('memory').filter(existsSync)).toHaveLength(1);
  });
});

// A plain user may make none.
it.runIf(process.getuid?.() === 0)('says once what to do where none can be made, whoever asks', () => {
  const cure = /accept_rlimits_only: true in an executor’s config, csc run --accept-rlimits-only/;
  process.seteuid?.(65_534);
  try {
    const [check] = probeCgroups();
    expect(check).toMatchObject({ ok: false, remedy: expect.stringMatching(cure) });
    expect(check?.detail).not.toMatch(cure);
    expect(() => openCgroups({ reserve: { memory_bytes: 0, cpu_millis: 0 } })).toThrow(cure);
  } finally {
    process.seteuid?.(0);
  }
});

describe('toReason', () => {
  it.each(['EACCES', 'EPERM', 'EROFS', 'EBUSY', 'ENOENT'])('says where %s was met', (code) => {
    const error = Object.assign(new Error(code), { code, path: '/sys/fs/cgroup/x/cgroup.subtree_control' });
    expect(toReason(error)).toContain('/sys/fs/cgroup/x/cgroup.subtree_control');
  });

  it('passes on what else the kernel says', () => {
    expect(toReason(Object.assign(new Error('EINVAL: no'), { code: 'EINVAL' }))).toBe('EINVAL: no');
  });
});

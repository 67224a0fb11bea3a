import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ownGroups } from '@csc-fleet/test-kit/sandbox/cgroups';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { below, type GroupDirectories, killGroup, makeGroup, openGroup, removeNow } from './group.ts';
import { toJobsName } from './names.ts';
import { toSettings } from './settings.ts';
import { sweepCgroups } from './sweep.ts';

const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '';
// Process 1 has not begun at tick 1 of its boot's clock.
const gone = `1-1-${namespace}`;
const limits = { memory_bytes: 64 << 20, processes: 40, cpu_millis: 500 };

// Only here: what else is on this host is not this test's to sweep.
let base: GroupDirectories;
let children: GroupDirectories[];
beforeEach(() => {
  base = makeIn(ownGroups(), `csc-test-sweep-${process.pid}`);
  children = [];
});
afterEach(async () => {
  for (const child of children.reverse()) {
    await killGroup(child);
    await openGroup('cgroup-v1', child).remove();
  }
  expect(removeNow(base)).toBe(true);
});

function makeIn(parent: GroupDirectories, name: string): GroupDirectories {
  const directories = below(parent, name);
  makeGroup(directories, []);
  return directories;
}

function make(parent: GroupDirectories, name: string): GroupDirectories {
  const directories = makeIn(parent, name);
  children.push(directories);
  return directories;
}

/** A process in a group. */
function occupy(directories: GroupDirectories) {
  const child = spawn('/usr/bin/sleep', ['60'], { stdio: 'ignore' });
  openGroup('cgroup-v1', directories).join(child.pid ?? 0);
  return { child, end: once(child, 'exit') };
}

const sweep = () => sweepCgroups([base.memory, base.pids, base.cpu]);
const isThere = (directories: GroupDirectories) =>
  [directories.memory, directories.pids, directories.cpu].some(existsSync);

describe('sweepCgroups', () => {
  it('ends and removes what executors that are gone have left, some levels down too', async () => {
    const service = make(make(base, 'system.slice'), 'csc-executor.service');
    const abandoned = [make(base, `csc-jobs-${gone}-0a`), make(service, `csc-jobs-${gone}-0b`)];
    const ends = abandoned.map((directories) => {
      const inside = below(directories, 'run-0');
      makeGroup(inside, toSettings('cgroup-v1', limits));
      return occupy(inside).end;
    });
    expect(await sweep()).toBe(2);
    expect(await Promise.all(ends)).toEqual([
      [null, 'SIGKILL'],
      [null, 'SIGKILL'],
    ]);
    expect(abandoned.filter(isThere)).toEqual([]);
  });

  it('finds what is left in one hierarchy only, as after a kill between two steps', async () => {
    const pids = join(base.pids, `csc-jobs-${gone}-0c`);
    const half = { memory: pids, pids, cpu: pids };
    makeGroup(half, []);
    expect(await sweep()).toBe(1);
    expect(existsSync(pids)).toBe(false);
  });

  it('leaves executors alone that are there, or in a PID namespace that is not this one', async () => {
    const kept = [make(base, toJobsName()), make(base, `csc-jobs-1-1-${namespace}1-0d`)];
    const inside = kept.map((directories) => make(directories, 'run-0'));
    const jobs = inside.map(occupy);
    expect(await sweep()).toBe(0);
    expect(inside.every(isThere)).toBe(true);
    expect(jobs.map(({ child }) => [child.exitCode, child.signalCode])).toEqual([
      [null, null],
      [null, null],
    ]);
  });

  it('removes the leaf of an executor that is gone once it is empty', async () => {
    const leaf = make(base, `csc-executor-${gone}`);
    const { child, end } = occupy(leaf);
    await sweep();
    expect([isThere(leaf), child.signalCode]).toEqual([true, null]);
    child.kill('SIGKILL');
    await end;
    await sweep();
    expect(isThere(leaf)).toBe(false);
  });

  it('has nothing to do where nothing is left', async () => {
    expect(await sweep()).toBe(0);
    expect(readdirSync(base.pids).includes('cgroup.procs')).toBe(true);
  });
});

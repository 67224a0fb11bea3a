import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { everywhere, readMembers, v2Mount } from '@csc-fleet/test-kit/sandbox/cgroups';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { below, makeGroup, openGroup } from './group.ts';
import { writeControl } from './hierarchy.ts';
import { toLeafName } from './names.ts';
import { makeV2Jobs } from './v2-jobs.ts';

// Any controller does that groups with processes cannot pass on. Those of jobs may be taken by cgroup v1.
const top = v2Mount();
const controller = ['hugetlb', 'memory', 'io'].find((name) => read(top, 'cgroup.controllers').includes(name));
const wasEnabled = read(top, 'cgroup.subtree_control');

let base: string;
let home: string;
let sleepers: ChildProcess[];
beforeAll(() => {
  if (controller === undefined) throw new Error('these tests need a controller in the cgroup v2 tree');
  writeControl(join(top, 'cgroup.subtree_control'), `+${controller}`);
  base = join(top, `csc-test-v2-${process.pid}`);
  mkdirSync(base);
  writeControl(join(base, 'cgroup.subtree_control'), `+${controller}`);
});
afterAll(async () => {
  await removeTree(base);
  if (!wasEnabled.includes(controller ?? '')) {
    writeControl(join(top, 'cgroup.subtree_control'), `-${controller}`);
  }
});
beforeEach(() => {
  home = join(base, 'home');
  mkdirSync(home);
  sleepers = [];
});
afterEach(async () => {
  for (const sleeper of sleepers) {
    const end = once(sleeper, 'exit');
    sleeper.kill('SIGKILL');
    await end;
  }
  for (const name of directories(base)) await removeTree(join(base, name));
});

async function removeTree(directory: string): Promise<void> {
  for (const name of directories(directory)) await removeTree(join(directory, name));
  await openGroup('cgroup-v2', everywhere(directory)).remove();
}

function directories(parent: string): string[] {
  return readdirSync(parent, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
}

function read(directory: string, file: string): string[] {
  return readFileSync(join(directory, file), 'utf8').trim().split(' ').filter(Boolean);
}

/** A process that stands for the executor, in its group. */
function startExecutor(group = home): number {
  const child = spawn('/usr/bin/sleep', ['60'], { stdio: 'ignore' });
  if (child.pid === undefined) throw new Error('sleep did not start');
  sleepers.push(child);
  writeControl(join(group, 'cgroup.procs'), String(child.pid));
  return child.pid;
}

function open(pid: number, name: string, { own = home, root = home } = {}) {
  const places = { own: everywhere(own), mounts: everywhere(root) };
  return makeV2Jobs(places, name, [], { pid, enable: [controller ?? ''] });
}

describe('makeV2Jobs', () => {
  it('moves the executor into a leaf beside the jobs, whose groups can be limited', () => {
    const pid = startExecutor();
    const jobs = open(pid, 'jobs');
    expect(readMembers(join(home, toLeafName()))).toEqual([pid]);
    expect(readMembers(home)).toEqual([]);
    const run = below(jobs.directories, 'run-0');
    makeGroup(run, []);
    expect(read(run.memory, 'cgroup.controllers')).toEqual([controller]);
    rmdirSync(run.memory);
    jobs.close();
  });

  it('gives everything back', () => {
    const pid = startExecutor();
    open(pid, 'jobs').close();
    expect(readMembers(home)).toEqual([pid]);
    expect(directories(home)).toEqual([]);
    expect(read(home, 'cgroup.subtree_control')).toEqual([]);
  });

  it('leaves jobs where they are when it is closed too early', () => {
    const pid = startExecutor();
    const jobs = open(pid, 'jobs');
    const run = below(jobs.directories, 'run-0');
    makeGroup(run, []);
    jobs.close();
    expect(existsSync(run.memory)).toBe(true);
    expect(readMembers(join(home, toLeafName()))).toEqual([pid]);
  });

  it('opens a second one beside the first, not below the leaf', () => {
    const pid = startExecutor();
    const first = open(pid, 'first');
    const second = open(pid, 'second', { own: join(home, toLeafName()) });
    expect(directories(home).sort()).toEqual([toLeafName(), 'first', 'second'].sort());
    expect(directories(join(home, toLeafName()))).toEqual([]);
    second.close();
    expect(readMembers(join(home, toLeafName()))).toEqual([pid]);
    first.close();
    expect(directories(home)).toEqual([]);
  });

  it('changes nothing where others live in the group as well', () => {
    const pids = [startExecutor(), startExecutor()];
    const path = join(home, 'cgroup.subtree_control');
    expect(() => open(pids[0] ?? 0, 'jobs')).toThrow(expect.objectContaining({ code: 'EBUSY', path }));
    expect(readMembers(home).sort()).toEqual(pids.sort());
    expect(directories(home)).toEqual([]);
  });

  it('goes to the root of the tree then, as root', () => {
    const pid = startExecutor();
    startExecutor();
    const root = join(base, 'root');
    mkdirSync(root);
    const jobs = open(pid, 'jobs', { root });
    expect(directories(root)).toEqual(['jobs']);
    expect(readMembers(home)).toHaveLength(2);
    jobs.close();
    expect(directories(root)).toEqual([]);
  });

  it('needs no leaf in the topmost group of the host, which may hold both', () => {
    const pid = startExecutor();
    const jobs = open(pid, `csc-test-jobs-${process.pid}`, { own: top, root: top });
    const members = readMembers(home);
    const hasLeaf = existsSync(join(top, toLeafName()));
    jobs.close();
    expect([members, hasLeaf, existsSync(jobs.directories.memory)]).toEqual([[pid], false, false]);
  });

  it('says which file lacks a controller', () => {
    const pid = startExecutor();
    const places = { own: everywhere(home), mounts: everywhere(home) };
    const attempt = () => makeV2Jobs(places, 'jobs', [], { pid, enable: ['unheard_of'] });
    expect(attempt).toThrow(expect.objectContaining({ path: join(home, 'cgroup.subtree_control') }));
    expect(readMembers(home)).toEqual([pid]);
  });
});

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { below, makeGroup, openGroup, type RunGroup } from './group.ts';
import { type Cgroups, findOwn, openCgroups, probeCgroups } from './open-cgroups.ts';
import { toSettings } from './settings.ts';
import { sweepCgroups } from './sweep.ts';

let cgroups: Cgroups;
beforeAll(() => {
  cgroups = openCgroups({ reserve: { memory_bytes: 1 << 28, cpu_millis: 100 } });
});
afterAll(() => cgroups.close());

const limits = { memory_bytes: 64 << 20, processes: 40, cpu_millis: 500 };

/** Runs a Python program in a fresh group, which it waits to be put into. */
async function run(program: string, changes: Partial<typeof limits> = {}) {
  const group = cgroups.create({ ...limits, ...changes });
  const child = spawn('/usr/bin/python3', ['-c', `import sys; sys.stdin.read(1)\n${program}`], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  if (child.pid === undefined) throw new Error('python3 did not start');
  group.join(child.pid);
  child.stdin.end('x');
  return { group, child, ...(await ended(child)) };
}

async function ended(child: ChildProcess) {
  const output: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => output.push(chunk));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, stdout: Buffer.concat(output).toString() };
}

async function giveBack(group: RunGroup): Promise<void> {
  await group.kill();
  await group.remove();
}

/** The run groups that are there now, in the hierarchy of `pids`. */
function runGroups(): string[] {
  const own = findOwn()?.own.pids ?? '';
  const mine = readdirSync(own).filter((name) => name.startsWith(`csc-jobs-${process.pid}-`));
  return mine.flatMap((name) => readdirSync(join(own, name)).filter((entry) => entry.startsWith('run-')));
}

describe('a group of a run', () => {
  it('stops a program that makes too many processes', async () => {
    const bomb =
      'import os\nmade = 0\ntry:\n while True:\n  if os.fork() == 0:\n   import time; os.closerange(0, 3); time.sleep(60)\n  made += 1\nexcept OSError as error: print(made, error.errno)';
    const { group, stdout } = await run(bomb);
    // EAGAIN.
    expect(stdout).toBe('39 11\n');
    await giveBack(group);
  });

  it('ends a program that takes too much memory, and says so', async () => {
    const { group, signal } = await run('data = bytearray(200 << 20)');
    expect(signal).toBe('SIGKILL');
    expect(group.oomKills()).toBeGreaterThan(0);
    await giveBack(group);
  });

  it('tells of memory that ran out while its first process goes on', async () => {
    const group = cgroups.create(limits);
    const program =
      'import subprocess, sys, time\nsys.stdin.read(1)\nsubprocess.run([sys.executable, "-c", "bytearray(200 << 20)"])\ntime.sleep(60)';
    const child = spawn('/usr/bin/python3', ['-c', program], { stdio: ['pipe', 'ignore', 'ignore'] });
    if (child.pid === undefined) throw new Error('python3 did not start');
    group.join(child.pid);
    const told = new Promise<void>((resolve) => group.watchOom(resolve));
    child.stdin.end('x');
    await told;
    await giveBack(group);
    expect(child.exitCode ?? child.signalCode ?? 'ending').toBeDefined();
  });

  it('holds back a program that wants all of a processor', async () => {
    const { group } = await run('import time\nend = time.time() + 0.6\nwhile time.time() < end: pass', {
      cpu_millis: 100,
    });
    const own = findOwn()?.own.cpu ?? '';
    const throttled = readdirSync(own)
      .filter((name) => name.startsWith(`csc-jobs-${process.pid}-`))
      .flatMap((name) => readdirSync(join(own, name)).map((entry) => join(own, name, entry, 'cpu.stat')))
      .filter(existsSync)
      .map((path) => Number(/^nr_throttled (\d+)$/m.exec(readFileSync(path, 'utf8'))?.[1]));
    expect(Math.max(...throttled)).toBeGreaterThan(0);
    await giveBack(group);
  });

  it('empties, whatever its processes do against it, and leaves nothing', async () => {
    const stubborn =
      'import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nfor _ in range(5):\n if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: os.closerange(0, 3); time.sleep(60)\n  os._exit(0)\nos.close(1)';
    const { group } = await run(`${stubborn}\n`);
    await group.kill();
    await group.remove();
    await group.remove();
    expect(runGroups()).toEqual([]);
  });

  it('is not made with limits that the kernel does not take', () => {
    expect(() => cgroups.create({ ...limits, processes: -5 })).toThrow();
    expect(runGroups()).toEqual([]);
  });
});

describe('probeCgroups', () => {
  it('really makes a group here', () => {
    expect(probeCgroups()).toMatchObject([{ name: 'cgroups', ok: true }]);
  });
});

describe('sweepCgroups', () => {
  it('ends and removes what an executor has left that is gone, and nothing of one that is there', async () => {
    const here = cgroups.create(limits);
    const own = findOwn()?.own;
    if (own === undefined) throw new Error('no cgroups');
    // Process 1 has not begun at tick 1 of its boot's clock.
    const abandoned = below(own, 'csc-jobs-1-1-00000000');
    makeGroup(abandoned, []);
    const inside = below(abandoned, 'run-0');
    makeGroup(inside, toSettings('cgroup-v1', limits));
    const left = spawn('/usr/bin/sleep', ['60'], { stdio: 'ignore' });
    openGroup('cgroup-v1', inside).join(left.pid ?? 0);
    const gone = once(left, 'exit');
    expect(await sweepCgroups()).toBeGreaterThan(0);
    expect(await gone).toEqual([null, 'SIGKILL']);
    expect(existsSync(abandoned.memory) || existsSync(abandoned.pids) || existsSync(abandoned.cpu)).toBe(
      false,
    );
    expect(runGroups()).toHaveLength(1);
    await giveBack(here);
  });
});

describe('a v2 group', () => {
  it('is written to as the kernel’s documents say', () => {
    const root = mkdtempSync(join(tmpdir(), 'csc-cgroup-'));
    try {
      const files = [
        'memory.max',
        'memory.oom.group',
        'pids.max',
        'cpu.max',
        'cgroup.procs',
        'memory.events',
      ];
      const group = join(root, 'run');
      mkdirSync(group);
      for (const file of files) writeFileSync(join(group, file), '');
      const directories = { memory: group, pids: group, cpu: group };
      const opened = openGroup('cgroup-v2', directories);
      opened.join(42);
      expect(readFileSync(join(group, 'cgroup.procs'), 'utf8')).toBe('42');
      writeFileSync(join(group, 'memory.events'), 'low 0\noom 1\noom_kill 3\noom_group_kill 1\n');
      expect(opened.oomKills()).toBe(3);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

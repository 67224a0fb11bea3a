import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmdirSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { defaultScratchDirectory } from '@csc-fleet/common/processes';
import { childrenOf, findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import {
  createSandboxRunner,
  finish,
  openTestGroups,
  type SandboxRunner,
} from '@csc-fleet/test-kit/sandbox/runner';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { probeHost } from '../doctor/probe-host.ts';
import { openContent } from '../host/index.ts';
import { toRunFacts } from '../plan/facts.ts';
import type { SandboxPlan } from '../plan/index.ts';
import { type BwrapLauncher, createBwrapLauncher } from './bwrap-launcher.ts';
import { startBwrapProcess } from './bwrap-process.ts';
import { findCscLauncher, toJobText } from './csc-launcher.ts';
import { createPipePool, type PipePool } from './pipe-pool.ts';
import { type JobEnd, StayingLauncher } from './staying-launcher.ts';

execFileSync(join(import.meta.dirname, '../../../../scripts/build-launcher.sh'));
const path = findCscLauncher() ?? 'none';

const isReady = async (launcher: { readonly pid: number | undefined }): Promise<number> => {
  for (;;) {
    if (launcher.pid !== undefined) return launcher.pid;
    await sleep(1);
  }
};
const hasEnded = (marker: string): Promise<void> => expect.poll(() => findProcesses(marker)).toEqual([]);

/** As in proc_pid_status(5); empty where it is gone. */
function readState(pid: number): string {
  try {
    return /^State:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  } catch {
    return '';
  }
}

/** Writes until a pipe holds no more; gives how much that is, which depends on who made it. */
function fill(pipe: number): number {
  const end = openSync(`/proc/self/fd/${pipe}`, constants.O_WRONLY | constants.O_NONBLOCK);
  let bytes = 0;
  try {
    for (;;) bytes += writeSync(end, Buffer.alloc(4096));
  } catch {
    return bytes;
  } finally {
    closeSync(end);
  }
}

describe('csc-launcher, told to run a program', () => {
  let launcher: StayingLauncher;
  let pool: PipePool;
  const opened: number[] = [];
  beforeAll(async () => {
    launcher = new StayingLauncher(path, () => 'mark');
    pool = createPipePool();
    await isReady(launcher);
  });
  afterAll(() => {
    launcher.close();
    pool.close();
  });
  afterEach(() => {
    for (const fd of opened.splice(0)) closeSync(fd);
  });

  interface Wanted {
    readonly program: readonly string[];
    readonly joins?: readonly number[];
    readonly group?: number;
    readonly umask?: number;
    readonly credentials?: { readonly uid: number; readonly gid: number };
    readonly ownNetwork?: boolean;
    readonly text?: string;
    readonly extra?: ReadonlyMap<number, number>;
  }

  async function run({
    program,
    joins = [],
    group,
    umask = 0o22,
    credentials,
    ownNetwork = false,
    text,
    extra,
  }: Wanted): Promise<JobEnd & { output: string }> {
    const pipe = pool.take();
    opened.push(pipe.read);
    const descriptors = new Map<number, number>([[1, pipe.write], [2, pipe.write], ...(extra ?? [])]);
    const start = { descriptors, joins, ownNetwork, path: '/usr/bin', program };
    const made = toJobText(
      { rlimits: { nofile: 100 }, umask, ...(credentials === undefined ? {} : { credentials }) },
      start,
    );
    const job = openContent(text ?? made, defaultScratchDirectory());
    const started = launcher.run({ text: job, ...(group === undefined ? {} : { group }) });
    await started.taken;
    closeSync(job);
    closeSync(pipe.write);
    const end = await started.ended;
    const bytes = Buffer.alloc(65_536);
    return { ...end, output: bytes.toString('utf8', 0, readSync(pipe.read, bytes)) };
  }

  const good = { code: 0, signal: null, error: 0 };

  it('starts it with what it was told and nothing else', async () => {
    const extra = new Map([[7, openSync('/etc/hostname', 'r')]]);
    const { output, ...end } = await run({
      program: [
        '/bin/sh',
        '-c',
        'env | grep -v ^PWD; ulimit -n; umask; ls /proc/self/fd; ps -o sid= -p $$ | tr -d " "; echo $$',
      ],
      umask: 0o27,
      extra,
    });
    for (const fd of extra.values()) closeSync(fd);
    const lines = output.trimEnd().split('\n');
    expect(end).toEqual(good);
    expect(lines.slice(0, -2)).toEqual(['PATH=/usr/bin', '100', '0027', '0', '1', '2', '3', '7']);
    expect(lines.at(-1)).toBe(lines.at(-2));
  });

  it.runIf(process.getuid?.() === 0)('lets it write 256 KiB before anybody reads', async () => {
    const program = ['/bin/sh', '-c', 'exec timeout 10 head -c 262144 /dev/zero'];
    expect(await run({ program })).toMatchObject(good);
  });

  it('says how it ended, to the number', async () => {
    expect(await run({ program: ['/bin/sh', '-c', 'exit 143'] })).toMatchObject({ code: 143, signal: null });
    expect(await run({ program: ['/bin/sh', '-c', 'kill -TERM $$'] })).toMatchObject({
      code: null,
      signal: 'SIGTERM',
    });
    expect(await run({ program: ['/no/such'] })).toMatchObject({ code: 127, error: 2 });
  });

  it('tells parallel ends apart', async () => {
    const codes = Array.from({ length: 24 }, (_, index) => index);
    const ends = await Promise.all(codes.map((code) => run({ program: ['/bin/sh', '-c', `exit ${code}`] })));
    expect(ends.map(({ code }) => code)).toEqual(codes);
  });

  // As a group that is gone, or one that this process may not join.
  it.each([
    { what: 'its group does not take it', joins: () => [openSync('/dev/full', constants.O_WRONLY)] },
    { what: 'there is no such group', joins: () => [60_000] },
  ])('does not become the program where $what', async ({ joins }) => {
    const fds = joins();
    opened.push(...fds.filter((fd) => fd < 60_000));
    const end = await run({ program: ['/bin/echo', 'ran'], joins: fds });
    expect(end).toMatchObject({
      code: 125,
      signal: null,
      output: expect.stringContaining('csc-launcher: cgroup: '),
    });
    expect(end.error).not.toBe(0);
    expect(end.output).not.toContain('ran');
  });

  it.each([
    ['', 'no text'],
    ['-', 'no NUL'],
    ['\0\0\0', 'empty words'],
    ['1>1\0-\0', 'too few words'],
    ['99999>1\0-\0-\0-\0-\x022\0-\x000\0/bin/true\0', 'a descriptor that is not there'],
    ['0>-1\0-\0-\0-\0-\x022\0-\x000\0/bin/true\0', 'a negative descriptor'],
    ['\0-\0-\0-\x022\0nofile=\x000\0/bin/true\0', 'no limit'],
    ['\0-\0-\0-\x022\0-\x009\0/bin/true\0', 'fewer variables than it says'],
  ])('ends the one job for %j: %s', async (text) => {
    expect(await run({ program: [], text: text === '' ? '\0' : text })).toMatchObject({
      code: 125,
      signal: null,
    });
    expect(await run({ program: ['/bin/true'] })).toMatchObject(good);
  });

  const v2 = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];
  it.runIf(v2 !== undefined && process.getuid?.() === 0)('makes it in a group of version 2', async () => {
    const directory = join(v2 ?? '', `csc-launcher-test-${process.pid}`);
    mkdirSync(directory);
    const group = openSync(directory, constants.O_DIRECTORY);
    const { output } = await run({ program: ['/bin/sh', '-c', 'grep ^0:: /proc/self/cgroup'], group });
    expect(output).toBe(`0::/csc-launcher-test-${process.pid}\n`);
    // Which none was made for ahead.
    const own = await run({ program: ['/bin/readlink', '/proc/self/ns/net'], group, ownNetwork: true });
    expect(own.output).toMatch(/^net:/);
    expect(own.output.trim()).not.toBe(readlinkSync('/proc/self/ns/net'));
    rmdirSync(directory);
    // A group that is gone: nothing is begun.
    const text = openContent(
      toJobText(
        { rlimits: {}, umask: 0 },
        { descriptors: new Map(), joins: [], ownNetwork: false, path: '', program: ['/bin/true'] },
      ),
      defaultScratchDirectory(),
    );
    expect(await launcher.run({ text, group }).taken).toBe('refused');
    for (const fd of [text, group]) closeSync(fd);
  });

  it('kills what has lost its parent, and all of it where it is killed itself', async () => {
    const orphan = `csc-test-orphan-${process.pid}`;
    const text = `sh -c 'exec >/dev/null 2>&1; while :; do sleep 0.02; done' ${orphan} & kill -KILL $$`;
    expect(await run({ program: ['/bin/sh', '-c', text] })).toMatchObject({ code: null, signal: 'SIGKILL' });
    await hasEnded(orphan);
    // Another user's processes too, though changing the user takes the kernel's promise back.
    const isRoot = process.getuid?.() === 0;
    const marker = `csc-test-lost-${process.pid}`;
    const lost = run({
      program: ['/bin/sh', '-c', 'exec >/dev/null 2>&1; while :; do sleep 0.02; done', marker],
      ...(isRoot ? { credentials: { uid: 65_534, gid: 65_534 } } : {}),
    });
    while (findProcesses(marker).length === 0) await sleep(2);
    process.kill(await isReady(launcher), 'SIGKILL');
    expect(await lost).toMatchObject({ code: null, signal: 'SIGKILL' });
    await hasEnded(marker);
    await isReady(launcher);
  });

  it.runIf(process.getuid?.() === 0)(
    'gives each its own network where it is to have one, and never one twice',
    async () => {
      const home = readlinkSync('/proc/self/ns/net');
      // A datagram to the loopback device goes out only where that is up.
      const text = 'readlink /proc/self/ns/net; grep -c : /proc/net/dev; echo > /dev/udp/127.0.0.1/9';
      const program = ['/bin/bash', '-c', text];
      const own = await Promise.all(Array.from({ length: 6 }, () => run({ program, ownNetwork: true })));
      const networks = own.map(({ output }) => output.split('\n')[0]);
      expect(new Set([home, ...networks]).size).toBe(7);
      for (const { output, code } of own) expect([output.split('\n')[1], code]).toEqual(['1', 0]);
      expect((await run({ program: ['/bin/readlink', '/proc/self/ns/net'] })).output).toBe(`${home}\n`);
    },
  );

  it.each([
    { ordered: 1, during: 4, what: 'not while one is on its way to its program' },
    { ordered: 5, during: 9, what: 'at once where none waited any more' },
  ])('has others wait in the place of $ordered, $what', async ({ ordered, during }) => {
    const pid = await isReady(launcher);
    await expect.poll(() => childrenOf(pid)).toHaveLength(4);
    // A group that takes nobody until it is told to.
    const full = pool.take();
    opened.push(full.read, full.write);
    const held = fill(full.write);
    const wanted = { program: ['/bin/true'], joins: [full.write] };
    const runs = Array.from({ length: ordered }, () => run(wanted));
    // It answers in the order in which it was asked.
    await launcher.makePipes(0);
    // It forks once it has looked at all that came at once.
    await expect.poll(() => childrenOf(pid)).toHaveLength(during);
    await sleep(50);
    expect(childrenOf(pid)).toHaveLength(during);
    readSync(full.read, Buffer.alloc(held));
    for (const end of await Promise.all(runs)) expect(end).toMatchObject(good);
    await expect.poll(() => childrenOf(pid)).toHaveLength(4);
  });

  it('does not become bwrap where that could not be told what to do, and nothing of it stays open', async () => {
    const linkOf = (fd: number | string): string => readlinkSync(`/proc/self/fd/${fd}`);
    const taken: string[] = [];
    const take = (): ReturnType<PipePool['take']> => {
      const pipe = pool.take();
      taken.push(linkOf(pipe.read));
      return pipe;
    };
    const onPassed = vi.fn();
    const spawned = {
      bwrapPath: '/usr/bin/bwrap',
      staying: launcher,
      mark: 'mark',
      argv: ['true'],
      onPassed,
      plan: { rlimits: {}, umask: 0o22, namespaces: [] } as unknown as SandboxPlan,
      descriptors: new Map(),
      pipePool: { take },
      scratchDirectory: defaultScratchDirectory(),
      numbers: { args: 3, status: 4, block: 5, seccomp: [], mounts: new Map() },
      toOptions: () => {
        throw new TypeError('the plan has no such descriptor');
      },
      confine: () => undefined,
    };
    const onStatus = vi.fn();
    const { exited } = startBwrapProcess(spawned, onStatus);
    expect(await exited).toMatchObject({ error: 'the plan has no such descriptor' });
    expect(onPassed).toHaveBeenCalledOnce();
    expect(onStatus).not.toHaveBeenCalled();
    expect(taken).toHaveLength(2);
    const open = readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [linkOf(fd)];
      } catch {
        return [];
      }
    });
    expect(open.filter((link) => taken.includes(link))).toEqual([]);
    expect(await run({ program: ['/bin/true'] })).toMatchObject(good);
  });

  it('is not ended by a signal of somebody else', async () => {
    const pid = await isReady(launcher);
    process.kill(pid, 'SIGTERM');
    expect(await run({ program: ['/bin/true'] })).toMatchObject(good);
    expect(launcher.pid).toBe(pid);
  });
});

describe('the links between executor, csc-launcher and bwrap', () => {
  let launcher: BwrapLauncher;
  let runner: SandboxRunner;
  beforeEach(async () => {
    const facts = toRunFacts(await probeHost());
    launcher = createBwrapLauncher({ facts, cgroups: openTestGroups() });
    runner = createSandboxRunner(facts, launcher);
    await ready();
  });
  afterEach(() => launcher.close());
  const ready = (): Promise<number> =>
    isReady({
      get pid() {
        return launcher.stayingPid();
      },
    });

  it('end what is held or runs with the launcher, at whatever moment it is killed', async () => {
    for (const delay of [0, 1, 2, 4, 8, 16, 'held', 'running'] as const) {
      const pid = await ready();
      const marker = `csc-test-link-${process.pid}-${delay}`;
      const launched = await runner.launch([['sh', '-c', 'sleep 100', marker], ['cat']], {}, true);
      if (typeof delay === 'number') await sleep(delay);
      else await launched.inits;
      if (delay === 'running') {
        launched.release();
        await launched.started;
      }
      process.kill(pid, 'SIGKILL');
      const { outcome } = await finish(launched);
      const signal = { exitCode: 137, signal: 'SIGKILL' };
      expect(outcome).toEqual(
        delay === 'running'
          ? { kind: 'exited', segments: [signal, signal] }
          : { kind: 'infrastructure', message: expect.any(String) },
      );
      await hasEnded(marker);
      // By this process, until there is another one.
      expect((await runner.run(['true'])).outcome).toMatchObject({ segments: [{ exitCode: 0 }] });
      expect(await ready()).not.toBe(pid);
    }
  });

  it('end a sandbox with its bwrap, also one that is held', async () => {
    for (const hold of [true, false]) {
      const marker = `csc-test-bwrap-${process.pid}-${hold}`;
      const launched = await runner.launch([['sh', '-c', 'sleep 100', marker]], {}, hold);
      const [init] = await launched.inits;
      const bwrap = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1];
      process.kill(Number(bwrap), 'SIGKILL');
      await hasEnded(marker);
      expect((await finish(launched)).outcome.kind).toBe(hold ? 'infrastructure' : 'exited');
    }
  });

  it.each(['bwrap', 'csc-launcher'])(
    'do not hold up the end of a sandbox where %s is stopped',
    async (which) => {
      const marker = `csc-test-stopped-${process.pid}-${which}`;
      const launched = await runner.launch([['sh', '-c', 'sleep 100', marker]], {});
      const [init] = await launched.inits;
      const bwrap = Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1]);
      const stopped = which === 'bwrap' ? bwrap : await ready();
      process.kill(stopped, 'SIGSTOP');
      try {
        launched.terminate(0);
        const { outcome } = await finish(launched);
        expect(outcome).toEqual({ kind: 'exited', segments: [{ exitCode: 137, signal: 'SIGKILL' }] });
        await hasEnded(marker);
        // One that is stopped would be left behind.
        if (which === 'bwrap') expect(readState(bwrap)).toMatch(/^Z|^$/);
      } finally {
        if (which !== 'bwrap') process.kill(stopped, 'SIGCONT');
      }
      expect((await runner.run(['true'])).outcome).toMatchObject({ segments: [{ exitCode: 0 }] });
    },
  );

  it('hold where those that wait are killed', async () => {
    const pid = await ready();
    const children = childrenOf(pid);
    expect(children).toHaveLength(4);
    for (const child of children) process.kill(child, 'SIGKILL');
    const runs = await Promise.all(Array.from({ length: 6 }, () => runner.run(['true'])));
    for (const { outcome } of runs) expect(outcome).toMatchObject({ kind: 'exited' });
    expect(launcher.stayingPid()).toBe(pid);
  });
});

import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { defaultScratchDirectory } from '@csc-fleet/common/processes';
import { programFile } from '@csc-fleet/test-kit/programs';
import { findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import type { Run } from '@csc-fleet/test-kit/sandbox/runner';
import type { TestExecutorOptions } from '@csc-fleet/test-kit/sandbox/test-executor';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findNameKey } from '../host/scratch.ts';
import { sweepLeftovers } from '../host/sweep.ts';
import { findCscLauncher } from './csc-launcher.ts';

let tree: TestTree;
beforeEach(() => {
  tree = makeTree();
});
afterEach(() => tree.remove());

function start(
  options: TestExecutorOptions,
  extra: Readonly<Record<number, number>> = {},
  state: readonly string[] = [],
): ChildProcess {
  const stdio: ('ignore' | 'pipe' | 'inherit' | number)[] = ['ignore', 'pipe', 'inherit'];
  for (const [number, fd] of Object.entries(extra)) stdio[Number(number)] = fd;
  const program = [process.execPath, programFile('test-executor'), JSON.stringify(options)];
  const [command = '', ...args] = [...state, ...program];
  return spawn(command, args, {
    stdio: Array.from(stdio, (entry) => entry ?? 'ignore'),
  });
}

async function readRun(executor: ChildProcess): Promise<Run> {
  const text = Buffer.concat((await executor.stdout?.toArray()) ?? []).toString('utf8');
  return JSON.parse(text.split('\n')[1] ?? '');
}

async function killOnce(executor: ChildProcess, ready: () => boolean): Promise<void> {
  while (!ready()) await sleep(5);
  const exited = new Promise((done) => executor.once('exit', done));
  executor.kill('SIGKILL');
  await exited;
}

const isGone = (...words: string[]): Promise<void> => expect.poll(() => findProcesses(...words)).toEqual([]);

describe('an executor that is not root', () => {
  const isRoot = process.getuid?.() === 0;
  // Where the tests are not root themselves, they are that executor already.
  const user = { uid: 4321, gid: 4321 };

  it('runs jobs as itself in the same sandbox', async () => {
    const workspace = tree.directory('w', isRoot ? user : undefined);
    const text =
      'id -u; grep -c "^Cap.*0000000000000000$" /proc/self/status; unshare -U true; touch a /usr/x; ls; ls /proc/self/fd';
    const scopes = { cwd: workspace, writePaths: [workspace], prefixes: [tree.path] };
    const run = await readRun(start({ argv: ['sh', '-c', text], scopes, ...(isRoot ? { user } : {}) }));
    expect(run.stdout).toBe('1000\n5\na\n0\n1\n2\n3\n');
    expect(run.stderr).toContain('Read-only file system');
    expect(readdirSync(workspace)).toEqual(['a']);
  });
});

describe('an executor that was started with files open', () => {
  it('passes none of them on', async () => {
    const open = [9, 40, 41, 60].map((number) => [number, openSync('/', 'r')] as const);
    const executor = start({ argv: ['ls', '/proc/self/fd'] }, Object.fromEntries(open));
    const run = await readRun(executor);
    expect(run.stdout).toBe('0\n1\n2\n3\n');
    for (const [, fd] of open) closeSync(fd);
  });
});

describe.each([
  { by: 'csc-launcher', launcher: findCscLauncher() ?? 'none', stays: true },
  { by: 'csc-launcher, one for each', launcher: findCscLauncher() ?? 'none', stays: false },
  { by: "Debian's own tools", launcher: null, stays: false },
])('an executor with a state of its own that starts jobs with $by', ({ launcher, stays }) => {
  it('passes none of it on', async () => {
    const text = [
      'umask; nice; ionice; chrt -p $$ | sed "s/.*: //"; ulimit -c; cat /proc/self/oom_score_adj',
      'sed -n "/^Sig[BI]/p" /proc/self/status; env | grep -c ^L',
    ].join('; ');
    const executor = start({ argv: ['sh', '-c', text], launcher, stays }, {}, [
      ...[
        '/bin/sh',
        '-c',
        'umask 077; exec "$@"',
        'sh',
        'chrt',
        '--batch',
        '0',
        'ionice',
        '-c',
        '3',
        'nice',
        '-n',
        '7',
      ],
      ...['env', '--ignore-signal=RTMIN+1', '--ignore-signal=HUP', 'LC_ALL=tr_TR.UTF-8'],
    ]);
    const { stdout } = await readRun(executor);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/\s+/, ' '));
    // To be nicer again, or worth more memory, takes privilege.
    // Those of glibc's own two, 32 and 33, no tool can set (signal(7)): the tools leave them as they find them.
    const ignored = launcher === null ? /^SigIgn: 0{7}[01][08]0{7}$/ : /^SigIgn: 0{16}$/;
    const [nice, oom] = process.getuid?.() === 0 ? ['0', '500'] : [expect.any(String), expect.any(String)];
    expect(lines).toEqual([
      ...[
        '0022',
        nice,
        expect.stringMatching(/^(none|best-effort): prio [04]$/),
        'SCHED_OTHER',
        '0',
        '0',
        oom,
      ],
      ...['SigBlk: 0000000000000000', expect.stringMatching(ignored), '1'],
    ]);
  });
});

describe.each([
  { how: 'that stays', stays: true },
  { how: 'for each job', stays: false },
])('an executor with a csc-launcher $how that is killed', ({ stays }) => {
  it('takes its running commands with it', async () => {
    const marker = `csc-test-running-${process.pid}-${stays}`;
    const executor = start({ argv: ['sh', '-c', 'setsid sleep 100 & sleep 100', marker], stays });
    // sh, and bwrap's own three with the command in their arguments.
    await killOnce(executor, () => findProcesses(marker).length >= 3);
    await isGone(marker);
    // Its csc-launcher, which is told whose it is.
    await isGone('serve', String(executor.pid));
  });

  it('does not let a held command start, and the next one sweeps it away', async () => {
    const marker = `csc-test-held-${process.pid}-${stays}`;
    const workspace = tree.directory('w');
    const argv = ['sh', '-c', `echo > ${workspace}/ran; sleep 100`, marker];
    const executor = start({ argv, stays, hold: true, scopes: { readPaths: [workspace] } });
    await killOnce(executor, () => findProcesses(marker).length >= 2);
    await sweepLeftovers();
    await isGone(marker);
    expect(readdirSync(workspace)).toEqual([]);
  });

  it('wherever it is with a command that is not held leaves nothing after a sweep', async () => {
    for (const delay of stays ? [0, 2, 4, 8] : [2]) {
      const marker = `csc-test-early-${process.pid}-${stays}-${delay}`;
      const executor = start({ argv: ['sh', '-c', 'sleep 100', marker], stays });
      await killOnce(executor, () => findProcesses(marker).length >= 1);
      await sleep(delay);
      await sweepLeftovers();
      await isGone(marker);
    }
  });
});

describe('sweepLeftovers', () => {
  it('leaves alone what living executors have', async () => {
    const marker = `csc-test-alive-${process.pid}`;
    const workspace = tree.directory('w');
    const waiting = `while [ ! -e ${workspace}/swept ]; do sleep 0.02; done; echo done`;
    const executor = start({ argv: ['sh', '-c', waiting, marker], scopes: { readPaths: [workspace] } });
    while (findProcesses(marker).length < 3) await sleep(5);
    await sweepLeftovers();
    tree.file('w/swept');
    expect((await readRun(executor)).stdout).toBe('done\n');
  });

  it('removes files whose owner is gone', async () => {
    const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
    const abandoned = tree.file(`csc-run-999999999-1-${namespace}-aa/0`);
    tree.file(`csc-run-${process.pid}-0-${namespace}-bb`);
    // Of an executor in a container, whose pids are others.
    tree.file('csc-run-999999999-1-1-cc');
    tree.file('other');
    expect(await sweepLeftovers(tree.path)).toEqual({ processes: 0, files: 2 });
    expect(readdirSync(tree.path)).toEqual(['csc-run-999999999-1-1-cc', 'other']);
    expect(abandoned).toContain('csc-run');
  });

  it.runIf(process.getuid?.() === 0)('believes no other user’s file, nor stops at one', async () => {
    const marker = `csc-test-named-${process.pid}`;
    const argv = ['sh', '-c', 'read line; echo $line', marker];
    const executor = start({ argv, hold: true });
    while (findProcesses(marker).length < 2) await sleep(5);
    // What another user can read of it in the scratch directory, under the name of a process that is gone.
    const [name = ''] = readdirSync(defaultScratchDirectory()).filter((it) =>
      it.startsWith(`csc-names-${executor.pid}-`),
    );
    const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
    const planted = tree.file(`csc-names-999999999-1-${namespace}-${findNameKey(name)}`);
    chownSync(planted, 65534, 65534);
    expect(await sweepLeftovers(tree.path)).toEqual({ processes: 0, files: 0 });
    expect(readdirSync(tree.path)).toHaveLength(1);
    await killOnce(executor, () => true);
    await sweepLeftovers();
    await isGone(marker);
  });
});

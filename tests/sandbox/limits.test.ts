import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExecutionState } from '@csc-fleet/common/rpc';
import type { Fleet } from '@csc-fleet/test-kit/fleet';
import { findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Stage } from './stage.ts';

// What a job may use up, and that nothing of it is left. Each of these needs a run of its own.
const mebibyte = 1024 * 1024;
const limits = {
  memory_bytes: 96 * mebibyte,
  processes: 32,
  cpu_millis: 500,
  open_files: 64,
  file_bytes: 8 * mebibyte,
  tmp_bytes: 4 * mebibyte,
  write_bytes: 16 * mebibyte,
  write_files: 400,
};

let stage: Stage<Fleet>;
beforeAll(async () => {
  stage = await Stage.open({ executors: [{ name: 'host', config: { limits, ceiling: {} } }] });
}, 60_000);
afterAll(() => stage?.[Symbol.asyncDispose]());

/** Runs a Python program; `marker` is in its command line, by which it is found on the host. */
async function python(name: string, text: string, command: Parameters<Stage['run']>[0] = {}) {
  const marker = markerOf(name);
  const path = stage.script(`${name}.py`, text);
  const { workspace } = stage.fleet;
  const paths = { read_paths: [join(workspace, 'probes/**')], write_paths: [join(workspace, 'out')] };
  const result = await stage.run({ argv: ['python3', path, marker], ...paths, ...command });
  return { ...result, left: findProcesses(marker) };
}

function markerOf(name: string): string {
  return `csc-probe-${name}-${process.pid}`;
}

describe('resources', () => {
  it('memory: taking more than its share ends the command, and the receipt says so', async () => {
    const { receipt, left } = await python(
      'memory',
      'data = []\nwhile True: data.append(bytearray(1 << 20))',
    );
    expect(receipt).toMatchObject({ status: 'failed', ended: 'out_of_memory', exit_code: 137 });
    expect(receipt.commands[0]?.oom_kills).toBeGreaterThan(0);
    expect(left).toEqual([]);
  });

  it('memory: filling /tmp, the home and shared memory counts as well', async () => {
    const fill =
      'import os\nfor place in ("/dev/shm", os.environ["HOME"]):\n with open(place + "/x", "wb") as file:\n  for _ in range(200): file.write(bytes(1 << 20)); file.flush()';
    const { receipt } = await python('fill', fill);
    expect(receipt.status).toBe('failed');
    expect(['out_of_memory', 'exit']).toContain(receipt.ended);
  });

  it('memory: a child that takes too much ends the whole command', async () => {
    const child =
      'import subprocess, sys, time\nif len(sys.argv) > 2:\n data = []\n while True: data.append(bytearray(1 << 20))\nsubprocess.run([sys.executable, __file__, sys.argv[1], "child"])\ntime.sleep(300)';
    const { receipt, left } = await python('child', child, { timeout_sec: 60 });
    expect(receipt).toMatchObject({ status: 'failed', ended: 'out_of_memory' });
    expect(left).toEqual([]);
  });

  it('processes: a fork bomb meets its limit', async () => {
    const bomb =
      'import os, time\nmade = 0\ntry:\n while True:\n  if os.fork() == 0: time.sleep(60)\n  made += 1\nexcept OSError as error: print(made < 32, error.errno, flush=True)\nos._exit(0)';
    const { stdout, left } = await python('bomb', bomb);
    expect(stdout).toBe('True 11\n');
    expect(left).toEqual([]);
  });

  it('processes: threads count too', async () => {
    const threads =
      'import threading, time\nmade = 0\ntry:\n while made < 500: threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); made += 1\nexcept RuntimeError: print(made < 32, flush=True)\nimport os; os._exit(0)';
    expect((await python('threads', threads)).stdout).toBe('True\n');
  });

  it('processor: busy loops leave the executor its share', async () => {
    const enough = join(stage.fleet.workspace, 'out/enough');
    const busy = `import os, time\nfor _ in range(12):\n if os.fork() == 0: break\nwhile not os.path.exists("${enough}"): pass`;
    const running = python('busy', busy);
    while (findProcesses(markerOf('busy')).length < 12) await sleep(20);
    const other = await stage.run({ argv: ['true'] });
    expect(other.receipt.status).toBe('success');
    writeFileSync(enough, '');
    expect((await running).receipt.status).toBe('success');
  });

  it('processor: the time of a command is held to its quota', async () => {
    const spin =
      'import time\nend = time.time() + 1\nwhile time.time() < end: pass\nprint(time.process_time() < 0.85)';
    expect((await python('spin', spin)).stdout).toBe('True\n');
  });

  it('open files: no more than granted', async () => {
    const open =
      'import os\nopened = 0\ntry:\n while True: os.open("/dev/null", 0); opened += 1\nexcept OSError as error: print(opened < 64, error.errno)';
    expect((await python('open', open)).stdout).toBe('True 24\n');
  });

  it('file size: a larger file cannot be written', async () => {
    const large = `import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\ntry: open("${stage.fleet.workspace}/out/large", "wb").write(bytes(16 << 20))\nexcept OSError as error: print(error.errno)`;
    const { stdout } = await python('large', large);
    expect(stdout).toBe('27\n');
    expect(statSync(join(stage.fleet.workspace, 'out/large')).size).toBeLessThanOrEqual(limits.file_bytes);
  });

  it('/tmp: has the size that it was given', async () => {
    const tmp =
      'try: open("/tmp/x", "wb").write(bytes(8 << 20))\nexcept OSError as error: print(error.errno)';
    expect((await python('tmp', tmp)).stdout).toBe('28\n');
  });

  it('write scopes: writing more than the limit ends the command, however small the files', async () => {
    const many = `import time\nfor index in range(1000):\n open(f"${stage.fleet.workspace}/out/many{index}", "wb").write(bytes(1 << 20))\n if index > 40: time.sleep(0.05)`;
    const { receipt } = await python('many', many, { timeout_sec: 60 });
    expect(receipt).toMatchObject({ status: 'failed', ended: 'output_limit' });
    expect(receipt.effect_summary?.['bytes_written' as never]).toBeGreaterThan(limits.write_bytes);
  });

  it('write scopes: making more files than the limit ends the command, and what is left refuses no later one', async () => {
    const out = join(stage.fleet.workspace, 'out');
    const many = `import os, time\nfor index in range(100000): os.mkdir(f"${out}/directory{index}"); time.sleep(0.0002)`;
    const { receipt } = await python('directories', many, { timeout_sec: 60 });
    expect(receipt).toMatchObject({ status: 'failed', ended: 'output_limit' });
    expect(receipt.effect_summary?.['inodes_written' as never]).toBeGreaterThan(limits.write_files);
    expect(receipt.effect_summary?.['bytes_written' as never]).toBeGreaterThan(limits.write_files);
    const later = await python('later', 'pass');
    expect(later.receipt.status).toBe('success');
    expect(later.receipt.effect_summary).toMatchObject({ inodes_written: 0, files_written: 0 });
    for (const name of readdirSync(out)) rmSync(join(out, name), { recursive: true });
  });

  it('output: a flood is cut off, and the command goes on', async () => {
    const flood =
      'import sys\nfor _ in range(300): sys.stdout.buffer.write(bytes(1 << 16))\nprint("done", file=sys.stderr)';
    const { stdout, stderr, receipt } = await python('flood', flood);
    expect([stdout.length, stderr]).toEqual([10 * mebibyte, 'done\n']);
    expect(receipt).toMatchObject({ status: 'success', stdout_truncated: true });
  });

  it('the receipt says every limit, and what enforced it', async () => {
    const { receipt } = await stage.run({ argv: ['true'] });
    const said = receipt.sandbox?.limits.map(({ name, value, mechanism }) => `${name} ${value} ${mechanism}`);
    const cgroup = receipt.sandbox?.cgroup;
    expect(said).toEqual(
      expect.arrayContaining([
        `memory_bytes ${limits.memory_bytes} cgroup-${cgroup} memory`,
        `processes ${limits.processes} cgroup-${cgroup} pids`,
        `cpu_millis ${limits.cpu_millis} cgroup-${cgroup} cpu`,
        `open_files ${limits.open_files} rlimit`,
        `file_bytes ${limits.file_bytes} rlimit`,
        // 0 where the executor itself may have no more.
        expect.stringMatching(/^core_bytes [01] rlimit$/),
        `tmp_bytes ${limits.tmp_bytes} tmpfs`,
        `write_bytes ${limits.write_bytes} watch`,
        `write_files ${limits.write_files} watch`,
        'artifact_sec 60 measuring',
        `stdout_bytes ${10 * mebibyte} spool`,
      ]),
    );
    expect(receipt.sandbox?.seccomp_sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(receipt.sandbox_profile_id).toMatch(/^[0-9a-f]{64}$/);
  });
});

const daemon =
  'import os, signal, sys, time\nfor number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)\ndef daemonise():\n if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n   os.closerange(0, 3); time.sleep(300)\n  os._exit(0)\n os.wait()\n';

describe('lifecycle', () => {
  it('a daemon that closed everything and ignores signals is gone when the command has ended', async () => {
    const { receipt, left } = await python('daemon', `${daemon}for _ in range(5): daemonise()`);
    expect(receipt.status).toBe('success');
    expect(left).toEqual([]);
  });

  // These wait for their time to be up, beside each other.
  it.concurrent('a command that ignores SIGTERM is killed when its time is up, and its daemons with it', async () => {
    const { receipt, left } = await python('stubborn', `${daemon}daemonise()\ntime.sleep(300)`, {
      timeout_sec: 1,
    });
    expect(receipt).toMatchObject({ status: 'failed', ended: 'timeout', exit_code: 124 });
    expect(left).toEqual([]);
  });

  it.concurrent('a command that is asked to end may do so in order', async () => {
    const orderly =
      'import signal, sys, time\ndef end(*_): print("in order", flush=True); sys.exit(0)\nsignal.signal(signal.SIGTERM, end)\ntime.sleep(300)';
    const { stdout, receipt } = await python('orderly', orderly, { timeout_sec: 3 });
    expect(stdout).toBe('in order\n');
    expect(receipt).toMatchObject({ ended: 'timeout', exit_code: 124 });
  });

  it.concurrent('a command that stops itself does not stay', async () => {
    const { receipt, left } = await python(
      'stopped',
      'import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)',
      { timeout_sec: 1 },
    );
    expect(receipt.ended).toBe('timeout');
    expect(left).toEqual([]);
  });

  it('a zombie maker leaves none', async () => {
    const zombies = 'import os, time\nfor _ in range(10):\n if os.fork() == 0: os._exit(0)\nprint("made")';
    expect((await python('zombies', zombies)).left).toEqual([]);
  });

  it('it cannot kill its init or its guard', async () => {
    const kill =
      'import os, signal\nfor number in (signal.SIGTERM, signal.SIGKILL): os.kill(1, number)\ntry: os.kill(-1, signal.SIGCONT)\nexcept OSError: pass\nprint(os.path.exists("/proc/1"))';
    expect((await python('kill', kill)).stdout).toBe('True\n');
  });

  it('what it writes after its own end is not in the results', async () => {
    const late = `${daemon}out = "${stage.fleet.workspace}/out/late"\nif os.fork() == 0:\n os.setsid(); time.sleep(0.5); open(out, "w").write("late")\n`;
    // Nobody is left who could.
    expect((await python('late', late)).left).toEqual([]);
    expect(existsSync(join(stage.fleet.workspace, 'out/late'))).toBe(false);
  });

  it('a command that was cancelled is gone, and so is all that it started', async () => {
    const client = stage.fleet.connect();
    const marker = `csc-probe-cancel-${process.pid}`;
    const path = stage.script('cancel.py', `${daemon}daemonise()\nprint('up', flush=True)\ntime.sleep(300)`);
    const contract = stage.fleet.contract({ argv: ['python3', path, marker], read_paths: [path] });
    const { executionId } = await client.submit(contract);
    await stage.fleet.hasSpoken(executionId);
    expect(findProcesses(marker).length).toBeGreaterThanOrEqual(2);
    await client.cancel(executionId, { gracePeriodMs: 100 });
    const { execution, receipt } = await client.follow(executionId);
    expect([execution.state, receipt?.status]).toEqual([ExecutionState.CANCELLED, 'failed']);
    expect(findProcesses(marker)).toEqual([]);
  });

  it('nothing is left on the host: no cgroup of a run, no mount, no FIFO, no file', async () => {
    await stage.run({ argv: ['true'] });
    const pid = stage.fleet.executor('host').child.pid;
    expect(findGroups('/sys/fs/cgroup', `csc-jobs-${pid}-`, 6)).toEqual([]);
    const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8');
    expect(mounts).not.toContain(stage.fleet.workspace);
    // A batch of FIFOs may be in the making.
    const scratch = () => readdirSync('/dev/shm').filter((name) => name.startsWith(`csc-run-${pid}-`));
    await expect.poll(scratch).toEqual([]);
    const zombies = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isZombieOf(name, pid));
    expect(zombies).toEqual([]);
  });

  it('nothing is left of what an executor ran that was killed, once it is back', async () => {
    const marker = `csc-probe-orphan-${process.pid}`;
    const path = stage.script('orphan.py', `${daemon}daemonise()\nprint('up', flush=True)\ntime.sleep(300)`);
    const contract = stage.fleet.contract({ argv: ['python3', path, marker], read_paths: [path] });
    // A sandbox that is held has its name, too, and what has not begun goes back to the queue.
    const up = Promise.withResolvers<void>();
    const running = stage.fleet.connect().run(contract, { handlers: { onStdout: () => up.resolve() } });
    await Promise.race([up.promise, running]);
    expect(findProcesses(marker).length).toBeGreaterThanOrEqual(2);
    const killed = stage.fleet.executor('host').child.pid;
    await stage.fleet.executor('host').stop('SIGKILL');
    await stage.fleet.startExecutor({ name: 'host', config: { limits, ceiling: {} } });
    expect((await running).receipt).toMatchObject({ ended: 'executor_restart' });
    expect(findProcesses(marker)).toEqual([]);
    expect(findGroups('/sys/fs/cgroup', `csc-jobs-${killed}-`, 6, true)).toEqual([]);
    expect(readdirSync('/dev/shm').filter((name) => name.startsWith(`csc-run-${killed}-`))).toEqual([]);
  });
});

function isZombieOf(pid: string, parent: number | undefined): boolean {
  try {
    const [state, ppid] = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /, '')
      .split(' ');
    return state === 'Z' && Number(ppid) === parent;
  } catch {
    return false;
  }
}

/** Groups of runs below an executor's common group; with `whole`, that group itself as well. */
function findGroups(directory: string, prefix: string, levels: number, whole = false): string[] {
  let names: string[];
  try {
    names = readdirSync(directory, { withFileTypes: true })
      .filter((it) => it.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const path = join(directory, name);
    if (!name.startsWith(prefix)) return levels > 0 ? findGroups(path, prefix, levels - 1, whole) : [];
    const runs = readdirSync(path).filter((it) => it.startsWith('run-'));
    return whole ? [path] : runs.map((run) => join(path, run));
  });
}

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeFailure, type RunProbe, testProbes } from './run-probe.ts';
import { type Finding, readProbes, Stage } from './stage.ts';

// Jobs of one host run as the same user: nothing but their sandboxes keeps them apart, and from going on.
let stage: Stage;
beforeAll(async () => {
  stage = await Stage.visit('neighbours');
}, 60_000);
afterAll(() => stage?.[Symbol.asyncDispose]());

describe('two jobs at once', () => {
  const probes = readProbes('neighbours');
  const findings = new Map<string, Finding>();
  let said = '';

  beforeAll(async () => {
    const { workspace } = stage.fleet;
    const probing = join(workspace, 'probes');
    const signals = stage.fleet.writable('signals');
    const first = stage.run({
      argv: ['python3', join(probing, 'resident.py'), signals],
      read_paths: [`${probing}/**`],
      write_paths: [signals],
    });
    while (!existsSync(join(signals, 'ready'))) await sleep(10);
    const second = await stage.run({
      argv: ['python3', join(probing, 'neighbours.py')],
      read_paths: [`${probing}/**`, signals],
      write_paths: [join(workspace, 'out')],
    });
    writeFileSync(join(signals, 'go'), '');
    const { stdout, stderr } = await first;
    said = second.stderr + stderr;
    for (const line of (second.stdout + stdout).split('\n').filter(Boolean)) {
      const finding = JSON.parse(line) as Finding;
      findings.set(finding.name, finding);
    }
  }, 60_000);

  it.each(probes)('$area: $tries → $expects', (probe) => {
    const finding = findings.get(probe.name);
    expect(finding?.held, describeFailure(probe, finding?.seen ?? said)).toBe(true);
  });

  it('the first was undisturbed, and saw nothing of the second', () => {
    expect(findings.get('undisturbed')).toEqual({ name: 'undisturbed', held: true, seen: '[]' });
  });
});

/** Runs a script with a marker in its command line; gives what has it on the host afterwards. */
async function marked(name: string, text: string, command: Parameters<Stage['run']>[0] = {}) {
  const marker = `csc-probe-${name}-${process.pid}`;
  const script = stage.script(`${name}.py`, text);
  const out = join(stage.fleet.workspace, 'out');
  const result = await stage.run({
    argv: ['python3', script, marker],
    read_paths: [script],
    write_paths: [out],
    ...command,
  });
  return { ...result, left: findProcesses(marker) };
}

const endings: RunProbe[] = [
  {
    area: 'lifecycle',
    name: 'ptrace_trick',
    tries: 'to make bubblewrap report an exit (PTRACE_TRACEME and SIGSTOP) and to go on',
    expects: 'the trace is refused; the run ends when its time is up, and nothing is left',
    async attempt() {
      const { stdout, receipt, left } = await marked(
        'ptrace',
        `
import ctypes, os, signal, time
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(0, 0, 0, 0), ctypes.get_errno(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(300)`,
        { timeout_sec: 2 },
      );
      const held = stdout === '-1 1\n' && receipt.ended === 'timeout' && left.length === 0;
      return { held, seen: { stdout, ended: receipt.ended, left } };
    },
  },
  {
    area: 'lifecycle',
    name: 'held_output',
    tries: 'to keep a run from ending by a daemon that holds its output open',
    expects: 'the run ends with the command, and the daemon with it',
    async attempt() {
      const { stdout, receipt, left } = await marked(
        'holder',
        `
import os, time
print("said", flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(300)
    os._exit(0)
os.wait()`,
      );
      const held = stdout === 'said\n' && receipt.status === 'success' && left.length === 0;
      return { held, seen: { stdout, ended: receipt.ended, left } };
    },
  },
  {
    area: 'lifecycle',
    name: 'runaway',
    tries: 'to be killed never, by a chain of forks that has another pid at every moment',
    expects: 'nothing is left when its time is up',
    async attempt() {
      const { receipt, left } = await marked(
        'runaway',
        `
import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        while True:
            if os.fork() != 0: os._exit(0)
time.sleep(300)`,
        { timeout_sec: 1 },
      );
      return { held: receipt.ended === 'timeout' && left.length === 0, seen: { ended: receipt.ended, left } };
    },
  },
  {
    area: 'lifecycle',
    name: 'forged_exit',
    tries: "to forge the report of its own exit, through its init's descriptors",
    expects: 'the receipt says how it really ended',
    async attempt() {
      // The descriptor by which bubblewrap's init tells of the exit is an eventfd: 1 more than the exit code.
      const { receipt, left } = await marked(
        'forged',
        `
import os, struct, sys, time
for fd in os.listdir("/proc/1/fd"):
    if int(fd) < 3: continue
    try: os.write(os.open(f"/proc/1/fd/{fd}", os.O_RDWR), struct.pack("Q", 1))
    except OSError: pass
sys.exit(7)`,
      );
      const held = receipt.exit_code === 7 && receipt.ended === 'exit' && left.length === 0;
      return { held, seen: { code: receipt.exit_code, ended: receipt.ended, left } };
    },
  },
  {
    area: 'lifecycle',
    name: 'flooding_orphan',
    tries: 'to fill the log by an orphan that writes on after the end of the command',
    expects: 'the run ends all the same, and no output but what was said before the end',
    async attempt() {
      // Each line is the time it was written at, once the command has gone: how soon the rest follows is the scheduler's matter.
      const { stdout, receipt, left } = await marked(
        'flood',
        `
import os, time
command = os.getpid()
print("said", flush=True)
if os.fork() == 0:
    os.setsid()
    while os.getppid() == command: time.sleep(0.001)
    while True: os.write(1, b"%d\\n" % (time.time_ns() // 1000000))`,
      );
      const [said, ...late] = stdout.split('\n').slice(0, -1);
      const endedAt = Date.parse(receipt.commands[0]?.ended_at ?? '');
      const tooLate = late.filter((line) => !(Number(line) <= endedAt));
      return {
        held: said === 'said' && receipt.ended === 'exit' && tooLate.length === 0 && left.length === 0,
        seen: {
          said,
          receipt: receipt.ended,
          endedAt,
          late: late.length,
          tooLate: tooLate.slice(0, 9),
          left,
        },
      };
    },
  },
  {
    area: 'lifecycle',
    name: 'closed_everything',
    tries: 'to look finished by closing all descriptors, and to work on',
    expects: 'the run lasts as long as the command',
    async attempt({ fleet }) {
      const { receipt, left } = await marked(
        'closed',
        `
import os, time
os.closerange(0, 1024)
time.sleep(0.5)
open(${JSON.stringify(join(fleet.workspace, 'out/closed'))}, "w").write("worked on")
os._exit(5)`,
      );
      const wrote = existsSync(join(fleet.workspace, 'out/closed'));
      return {
        held: wrote && receipt.exit_code === 5 && left.length === 0,
        seen: { wrote, receipt: receipt.exit_code, left },
      };
    },
  },
];

describe.concurrent('the end of a run', () => testProbes(endings, () => stage));

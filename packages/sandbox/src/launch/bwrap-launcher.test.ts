import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProcesses, readArguments } from '@csc-fleet/test-kit/sandbox/find-processes';
import { testLauncher } from '@csc-fleet/test-kit/sandbox/launcher-contract';
import { makeCommand, makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import {
  codesOf,
  createSandboxRunner,
  finish,
  openTestGroups,
  type Run,
  type SandboxRunner,
} from '@csc-fleet/test-kit/sandbox/runner';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openBareSandbox } from '../../../../bench/bare-sandbox.ts';
import { probeHost } from '../doctor/probe-host.ts';
import { isNamedWith, markOf } from '../host/owned-names.ts';
import { isNested, listProcesses, readVariable } from '../host/processes.ts';
import { findNameKey } from '../host/scratch.ts';
import { type RunFacts, toRunFacts } from '../plan/facts.ts';
import { planSandbox } from '../plan/plan.ts';
import { resolveScopes } from '../plan/resolve-scopes.ts';
import { type BwrapLauncher, type BwrapLauncherOptions, createBwrapLauncher } from './bwrap-launcher.ts';
import type { LaunchedProcess } from './launcher.ts';

// As setup does; here too, so that these tests never pass without it.
execFileSync(join(import.meta.dirname, '../../../../scripts/build-launcher.sh'));

/** As `createBwrapLauncher` makes it, once its csc-launcher is ready. */
async function openStaying(options: BwrapLauncherOptions): Promise<BwrapLauncher> {
  const launcher = createBwrapLauncher(options);
  while (launcher.stayingPid() === undefined) await sleep(1);
  return launcher;
}

const openFromHere = async (options: BwrapLauncherOptions): Promise<BwrapLauncher> =>
  createBwrapLauncher({ ...options, stays: false });

for (const { by, open } of [
  { by: 'with a csc-launcher that stays', open: openStaying },
  { by: 'that starts everything itself', open: openFromHere },
])
  testLauncher(`the bwrap launcher ${by}`, async () => {
    const facts = toRunFacts(await probeHost());
    const tree = makeTree();
    const workspace = tree.directory('workspace', facts.jobUser);
    const policy = {
      allowed_cwd_prefixes: [workspace],
      allowed_read_prefixes: [workspace],
      allowed_write_prefixes: [workspace],
    };
    const scopes = resolveScopes({ cwd: workspace, readPaths: [], writePaths: [workspace], policy }, facts);
    const launcher = await open({ facts, cgroups: openTestGroups() });
    return {
      launcher,
      place: () => {
        const plan = planSandbox(facts, scopes, makeCommand());
        return { kind: 'sandbox', plan, scopes, user: facts.jobUser };
      },
      close() {
        launcher.close();
        scopes.close();
        tree.remove();
      },
    };
  });

let facts: RunFacts;
let runner: SandboxRunner;
let tree: TestTree;
let workspace: string;
beforeAll(async () => {
  facts = toRunFacts(await probeHost());
  runner = createSandboxRunner(facts, await openStaying({ facts, cgroups: openTestGroups() }));
});
afterAll(() => runner.launcher.close());
beforeEach(() => {
  tree = makeTree();
  workspace = tree.directory('workspace', facts.jobUser);
});
afterEach(() => tree.remove());

const script = (text: string, scopes = {}): Promise<Run> => runner.run(['sh', '-c', text], scopes);
const inWorkspace = (text: string): Promise<Run> => script(text, { cwd: workspace, writePaths: [workspace] });

describe('what a command sees', () => {
  it('is the system, what was declared, and nothing else', async () => {
    tree.file('declared/a', 'A');
    tree.file('secret/b', 'B');
    const { stdout } = await script(`ls /; ls ${tree.path}; cat ${tree.path}/declared/a`, {
      readPaths: [join(tree.path, 'declared')],
    });
    const own = ['bin', 'dev', 'etc', 'home', 'lib', 'proc', 'sbin', 'tmp', 'usr', 'var'];
    const shown = stdout.split('\n').filter((name) => !/^lib(32|64|x32)$/.test(name));
    expect(shown).toEqual([...own, 'declared', 'A']);
  });

  it('is what the benchmarks measure it against', async () => {
    const mounts = 'cut -d" " -f4-6 /proc/self/mountinfo | sed s,/libetc-[0-9a-f]*,,';
    const files = 'find /etc -printf "%M %u %s %p %l\\n" | sort; grep Seccomp /proc/self/status';
    const hash = `{ ${mounts}; ${files}; } | sha256sum`;
    const { stdout } = await script(hash, { cwd: workspace, readPaths: [workspace] });
    using bare = await openBareSandbox(workspace, ['sh', '-c', `test "$(${hash})" = "${stdout.trim()}"`]);
    await bare.run();
    using other = await openBareSandbox(workspace, ['sh', '-c', `test "$(${hash})" = other`]);
    await expect(other.run()).rejects.toThrow('exited with 1');
  });

  it('is what a glob matches, without its siblings', async () => {
    for (const name of ['a.json', 'b.json', 'c.txt']) tree.file(name, name);
    const { stdout } = await script(`ls ${tree.path}`, { readPaths: [`${tree.path}/*.json`] });
    expect(stdout).toBe('a.json\nb.json\n');
  });

  it('is a declared path that a symlink leads to, by both names', async () => {
    tree.file('real/x', 'X');
    symlinkSync('real', join(tree.path, 'link'));
    const { stdout } = await script(`cat ${tree.path}/link/x ${tree.path}/real/x`, {
      readPaths: [join(tree.path, 'link')],
    });
    expect(stdout).toBe('XX');
  });

  it('does not change when what was declared is swapped for a symlink after the check', async () => {
    tree.file('scope/x', 'mine');
    tree.file('other/x', 'other');
    const [scope, moved] = [join(tree.path, 'scope'), join(tree.path, 'moved')];
    const { outcome, stdout } = await script(`cat ${scope}/x`, {
      readPaths: [scope],
      meanwhile() {
        renameSync(scope, moved);
        symlinkSync(join(tree.path, 'other'), scope);
      },
    });
    expect([codesOf(outcome), stdout]).toEqual([[0], 'mine']);
  });

  it('is no sandbox at all when what was declared is gone', async () => {
    const scope = tree.directory('scope');
    const { outcome } = await script('true', { readPaths: [scope], meanwhile: () => tree.remove() });
    expect(outcome.kind).toBe('infrastructure');
  });

  it('hears none of the words of a bwrap that cannot build it', async () => {
    const scope = tree.directory('scope');
    const meanwhile = () => tree.remove();
    const launched = await runner.launch([['true']], { readPaths: [scope], meanwhile }, true);
    const { outcome, stderr } = await finish(launched);
    expect([outcome, stderr]).toEqual([
      { kind: 'infrastructure', message: expect.stringContaining('bwrap: ') },
      '',
    ]);
  });

  it('is made up where the host would show itself', async () => {
    const { stdout } = await script(
      'hostname; id -un; id -u; cat /etc/hosts; ls /etc /home /root 2>/dev/null; git --version >/dev/null && git config --system safe.directory',
    );
    expect(stdout).toMatch(/^sandbox\nuser\n1000\n127\.0\.0\.1 localhost sandbox\n/);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('*');
    expect(stdout).not.toMatch(/shadow|machine-id|hostname/);
  });

  it('is enough for the tools of the distribution', async () => {
    const hello =
      'public class Hello { public static void main(String[] a) throws Exception { System.out.println(java.security.MessageDigest.getInstance("SHA-256").digest(new byte[1])[0]); } }';
    tree.file('workspace/Hello.java', hello);
    const names = 'import socket; print(socket.getservbyname("https"), socket.getprotobyname("tcp"))';
    const tools: readonly (readonly [argv: readonly string[], says: RegExp])[] = [
      [['python3', '-c', names], /^443 6$/m],
      [
        ['python3', '-c', 'import tempfile, os; print(os.listdir(tempfile.mkdtemp(dir="/var/tmp")))'],
        /^\[\]$/m,
      ],
      [['sh', '-c', '. /etc/os-release; echo "$ID"; getent hosts sandbox'], /\bsandbox$/m],
      [['java', 'Hello.java'], /^110$/m],
      [['javac', '-version'], /^javac \d/m],
      [
        ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=x', '-keyout', '/tmp/k'],
        /^-----END CERT/m,
      ],
      [['fc-list'], /^/],
      [
        ['php', '-r', 'echo php_ini_loaded_file(), "\\n", PHP_VERSION_ID > 0 ? "runs" : "";'],
        /^\/etc\/php.*\nruns$/m,
      ],
      [['convert', '-size', '1x1', 'xc:red', 'png:/tmp/x.png'], /^$/],
      [['mvn', '-v'], /^.*Apache Maven \d/m],
    ];
    const present = tools.filter(([[program = '']]) => existsSync(`/usr/bin/${program}`));
    // What a host need not have is tried where it is.
    console.info(`tools of the distribution: ${present.map(([argv]) => argv[0]).join(' ')}`);
    const faults = await Promise.all(
      present.map(async ([argv, says]) => {
        const { outcome, stdout, stderr } = await runner.run(
          argv,
          argv[0] === 'java' ? { cwd: workspace, readPaths: [workspace] } : {},
        );
        const isFine =
          codesOf(outcome)[0] === 0 &&
          says.test(stdout) &&
          !/error|warning|cannot/i.test(stderr.replaceAll(/^.*JAVA_.*$/gm, ''));
        return isFine ? [] : [{ argv, outcome, stdout, stderr }];
      }),
    );
    expect(faults.flat()).toEqual([]);
  });

  it('has no keys and symbols of the kernel in /proc', async () => {
    const masked = [...facts.maskedFiles, ...facts.maskedDirectories.map((path) => `${path}/*`)];
    const { stdout } = await script(`cat ${masked.join(' ')} 2>/dev/null`);
    expect(stdout).toBe('');
  });

  it('is the environment that was granted, also of the process that guards it', async () => {
    const environment = { GRANTED: 'yes' };
    const { stdout } = await runner.run(['env'], { environment });
    expect(stdout.trimEnd().split('\n').sort()).toEqual([
      'GRANTED=yes',
      'HOME=/home/user',
      'LANG=C.UTF-8',
      'PATH=/usr/local/bin:/usr/bin:/bin',
      'PWD=/',
      'USER=user',
    ]);
    const init = await script('tr "\\0" "\\n" < /proc/1/environ; tr "\\0" " " < /proc/1/cmdline', {
      readPaths: [workspace],
    });
    expect(init.stdout).toMatch(/^PATH=\/usr\/bin:\/bin:\/[0-9a-f]{32}\n/);
    expect(init.stdout).not.toContain(tree.path);
  });

  it('has no other processes', async () => {
    const { stdout } = await script('ls /proc | grep -c "^[0-9]"');
    expect(Number(stdout)).toBeLessThanOrEqual(4);
  });

  it('has no network but its own loopback', async () => {
    const { stdout } = await script(
      'tail -n +3 /proc/net/dev; tail -n +2 /proc/net/route; cat /proc/net/unix',
    );
    expect(stdout.split('\n').filter((line) => line.includes(':') && !line.startsWith('Num'))).toEqual([
      expect.stringContaining('lo:'),
    ]);
  });
});

describe('what a command can write', () => {
  it('is its write scopes and its private directories', async () => {
    const { outcome } = await inWorkspace(
      'touch a /tmp/b ~/c /dev/shm/d && test -k /tmp && test "$(stat -c %a ~)" = 700',
    );
    expect(codesOf(outcome)).toEqual([0]);
    expect(statSync(join(workspace, 'a')).uid).toBe(facts.jobUser.uid);
    expect(existsSync('/tmp/b')).toBe(false);
  });

  it('is nothing else', async () => {
    tree.directory('shown', facts.jobUser);
    const places = ['/', '/etc', '/usr', '/dev', '/home', '/proc/acpi', join(tree.path, 'shown'), tree.path];
    const { stdout } = await script(
      `for d in ${places.join(' ')}; do touch $d/x 2>/dev/null && echo $d; done`,
      {
        readPaths: [join(tree.path, 'shown')],
        writePaths: [workspace],
      },
    );
    expect(stdout).toBe('');
    const { stderr } = await script(`touch ${tree.path}/shown/x`, { readPaths: [join(tree.path, 'shown')] });
    expect(stderr).toContain('Read-only file system');
  });

  it('is bounded where it lives in memory', async () => {
    const { stderr } = await script('head -c 300M /dev/zero > /tmp/x');
    expect(stderr).toContain('No space left');
  });

  it('is a write scope inside a read scope, and not what is beside it', async () => {
    for (const name of ['workspace/src/s', 'workspace/out/o']) tree.file(name, name);
    tree.directory('workspace/out', facts.jobUser);
    const scopes = { cwd: workspace, readPaths: [workspace], writePaths: [join(workspace, 'out')] };
    const run = await script('cat src/s out/o; touch out/new; touch src/new new', scopes);
    expect(run.stdout).toBe('workspace/src/sworkspace/out/o');
    expect(run.stderr.match(/Read-only file system/g)).toHaveLength(2);
    expect(readdirSync(join(workspace, 'out')).sort()).toEqual(['new', 'o']);
  });

  it('is a file of its own', async () => {
    const file = tree.file('notes.txt', 'old\n', 0o666);
    const { stdout } = await script(`echo new >> ${file}; cat ${file}; ls ${tree.path}`, {
      writePaths: [file],
    });
    expect([stdout, readFileSync(file, 'utf8')]).toEqual(['old\nnew\nnotes.txt\n', 'old\nnew\n']);
  });

  it('does not lead a later sandbox astray by a symlink where that mounts', async () => {
    tree.directory('workspace/out', facts.jobUser);
    tree.directory('victim', facts.jobUser);
    const planted = await inWorkspace(
      `rm -r out && ln -s /oldroot${tree.path}/victim out && ln -s out/x link`,
    );
    expect(codesOf(planted.outcome)).toEqual([0]);
    const attempt = script('true', { readPaths: [workspace], writePaths: [join(workspace, 'out')] });
    await expect(attempt).rejects.toMatchObject({ name: 'CscError' });
    expect(readdirSync(join(tree.path, 'victim'))).toEqual([]);
  });
});

describe('what a command is', () => {
  it('is the job user to the host, and has no capabilities and no way to new ones', async () => {
    const marker = `csc-test-user-${process.pid}`;
    const status = 'cat /proc/self/status; echo ready; sleep 100';
    const launched = await runner.launch([['sh', '-c', status, marker]], {});
    const stdout = await readUntil(launched, 'ready');
    const { uid, gid } = facts.jobUser;
    const host = findProcesses(marker).filter(isNested);
    expect(host.length).toBeGreaterThan(0);
    for (const pid of host) {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(status).toMatch(new RegExp(`^Uid:(\\t${uid}){4}\\nGid:(\\t${gid}){4}$`, 'm'));
      if (uid !== facts.executorUid) expect(status).toMatch(/^Groups:\s*$/m);
    }
    expect(stdout).toMatch(/^(Cap(Inh|Prm|Eff|Bnd|Amb):\t0{16}\n){5}NoNewPrivs:\t1$/m);
    expect(stdout).toMatch(/^Uid:(\t1000){4}$/m);
    launched.terminate(0);
    await finish(launched);
  });

  it('can make no user namespace', async () => {
    expect(codesOf((await runner.run(['unshare', '-U', 'true'])).outcome)).toEqual([1]);
  });

  it('has descriptors 0, 1 and 2, whatever this process was started with', async () => {
    const { stdout } = await script('ls -l /proc/self/fd | sed -n "s/.* \\([0-9]*\\) -> /\\1 /p"', {
      readPaths: [workspace],
    });
    const [zero, one, two, ...rest] = stdout.trimEnd().split('\n');
    expect(zero).toBe('0 /dev/null');
    expect([one, two]).toEqual([expect.stringMatching(/^1 .*pipe/), expect.stringMatching(/^2 pipe:/)]);
    // The directory that ls reads.
    expect(rest).toEqual([expect.stringMatching(/^3 \/proc\/\d+\/fd$/)]);
  });
});

async function readUntil({ stdout }: LaunchedProcess, text: string): Promise<string> {
  let read = '';
  for await (const chunk of stdout.iterator({ destroyOnReturn: false })) {
    read += String(chunk);
    if (read.includes(text)) return read;
  }
  return read;
}

describe('the end of a command', () => {
  const marker = `csc-test-end-${process.pid}-`;
  const left = (): number[] =>
    listProcesses().filter((pid) => readArguments(pid).some((argument) => argument.includes(marker)));

  it('is the end of its daemons', async () => {
    const daemon = `setsid sh -c "trap '' TERM HUP; (trap '' TERM; sleep 100; : ${marker}) & sleep 100"`;
    const { outcome, stdout } = await script(`${daemon} >/dev/null 2>&1 & echo started`);
    expect([codesOf(outcome), stdout, left()]).toEqual([[0], 'started\n', []]);
  });

  it('is the end of its daemons also where it is killed', async () => {
    const daemon = `setsid sh -c "trap '' TERM HUP; (setsid sleep 100 ${marker}) & sleep 100; : ${marker}"`;
    const launched = await runner.launch(
      [['sh', '-c', `trap '' TERM; ${daemon} & echo ready; wait; sleep 100`]],
      {},
    );
    await readUntil(launched, 'ready');
    launched.terminate(50);
    expect([codesOf((await finish(launched)).outcome), left()]).toEqual([[137], []]);
  });

  it('is not what bwrap says of it: one that has itself traced is gone as well', async () => {
    // The filter denies it; this is what holds without one.
    const open = { ...facts, seccomp: { ...facts.seccomp, programs: [] } };
    const unfiltered = createSandboxRunner(
      open,
      createBwrapLauncher({ facts: open, cgroups: openTestGroups() }),
    );
    // PTRACE_TRACEME and a stop make bwrap 0.8 report an exit while the process goes on.
    const trick = [
      'import ctypes, os, signal, sys, time',
      'if os.fork() == 0:',
      '    time.sleep(100)',
      'ctypes.CDLL(None).ptrace(0, 0, 0, 0)',
      'os.kill(os.getpid(), signal.SIGSTOP)',
      'time.sleep(100)',
    ].join('\n');
    const marker = `csc-test-traced-${process.pid}`;
    await unfiltered.run(['python3', '-c', trick, marker], { cwd: workspace, writePaths: [workspace] });
    unfiltered.launcher.close();
    expect(findProcesses(marker)).toEqual([]);
  });

  /** A command that writes a line and ends, with its output open here as well. */
  async function launchHeld() {
    const waits = 'echo x; while [ ! -e held ]; do sleep 0.02; done';
    const launched = await runner.launch([['sh', '-c', waits]], { cwd: workspace, readPaths: [workspace] });
    const pid = await waitFor(() =>
      listProcesses().find((candidate) => isNested(candidate) && isOwnInit(candidate)),
    );
    const held = openSync(`/proc/${pid}/fd/1`, 'w');
    tree.file('workspace/held');
    return { launched, held };
  }

  it('comes when a process that this one does not know of holds the output open', async () => {
    const { launched, held } = await launchHeld();
    expect((await finish(launched)).stdout).toBe('x\n');
    closeSync(held);
  });

  it('comes also when such a process goes on writing', async () => {
    const { launched, held } = await launchHeld();
    const writer = spawn('yes', { stdio: ['ignore', held, 'ignore'] });
    closeSync(held);
    const { stdout } = await finish(launched);
    expect(stdout.slice(0, 2)).toMatch(/^(x|y)\n$/);
    writer.kill('SIGKILL');
  });

  it('is also that of the bwrap which guards it', async () => {
    const launched = await runner.launch([['sh', '-c', `echo ready; sleep 100; : ${marker}`]], {});
    await readUntil(launched, 'ready');
    const guard = left().find((pid) => !isNested(pid) && pid !== process.pid);
    // A signal to -1 would be one to every process of this host (kill(2)).
    if (guard === undefined) throw new Error('no bwrap guards it');
    process.kill(guard, 'SIGKILL');
    expect([codesOf((await finish(launched)).outcome), left()]).toEqual([[137], []]);
  });

  it('leaves nothing behind', async () => {
    const state = () => ({
      descriptors: readdirSync('/proc/self/fd').filter((fd) => !isPooled(fd)).length,
      // What others of this host mount meanwhile is theirs.
      mounts: readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .filter((line) => line.includes(tree.path) || line.includes(`csc-run-${process.pid}-`)),
      scratch: readdirSync('/dev/shm').filter((name) => name.startsWith(`csc-run-${process.pid}-`)),
    });
    await inWorkspace('true');
    const before = state();
    for (let round = 0; round < 20; round += 1) await inWorkspace('echo x; exit 1');
    await finish(await runner.launch([['yes'], ['head', '-1']], {}));
    await runner.run(['csc-no-such-program']);
    // Some of it is given back a moment after the end.
    await expect.poll(() => state().scratch).toEqual([]);
    await expect.poll(() => state().descriptors).toBeLessThanOrEqual(before.descriptors);
    await expect.poll(() => state().mounts).toEqual([]);
  });

  function ownKeys(): string[] {
    const own = readdirSync('/dev/shm').filter((name) => name.startsWith(`csc-names-${process.pid}-`));
    return own.flatMap((name) => findNameKey(name) ?? []);
  }

  function isPooled(fd: string): boolean {
    try {
      const link = readlinkSync(`/proc/self/fd/${fd}`);
      return link.includes('csc-run-') || link.startsWith('pipe:');
    } catch {
      return true;
    }
  }

  function isOwnInit(pid: number): boolean {
    return isNamedWith(markOf(readVariable(pid, 'PATH')), ownKeys());
  }

  async function waitFor<T>(find: () => T | undefined): Promise<T> {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      await sleep(5);
    }
  }
});

describe('output', () => {
  it('of 200 MiB takes no memory', async () => {
    const launched = await runner.launch([['head', '-c', String(200 * 1024 * 1024), '/dev/zero']], {});
    launched.stderr.resume();
    let length = 0;
    let peak = 0;
    const before = process.memoryUsage().arrayBuffers;
    for await (const chunk of launched.stdout) {
      length += chunk.length;
      peak = Math.max(peak, process.memoryUsage().arrayBuffers);
      expect(chunk.length).toBeLessThanOrEqual(262_144);
      launched.stdout.recycle(chunk);
    }
    expect(length).toBe(200 * 1024 * 1024);
    expect(peak - before).toBeLessThan(8 * 1024 * 1024);
    expect(codesOf(await launched.exited)).toEqual([0]);
  });
});

describe('the bwrap launcher', () => {
  it('runs nothing outside a sandbox', () => {
    const place = { kind: 'local', cwd: '/', environment: {}, umask: 0o022 } as const;
    expect(() => runner.launcher.launch({ segments: [{ argv: ['true'] }], place, hold: false })).toThrow(
      TypeError,
    );
  });

  it('says so where there is no bwrap any more', async () => {
    const gone = { ...facts, bwrapPath: '/proc/none/bwrap' };
    const broken = createSandboxRunner(gone, createBwrapLauncher({ facts: gone, cgroups: openTestGroups() }));
    const { outcome } = await broken.run(['true']);
    expect(outcome).toMatchObject({ kind: 'infrastructure', message: expect.stringContaining('bwrap') });
    broken.launcher.close();
  });

  it('runs many at once', async () => {
    const runs = await Promise.all(Array.from({ length: 24 }, (_, index) => script(`echo ${index}`)));
    expect(runs.map(({ stdout }) => Number(stdout))).toEqual(runs.map((_, index) => index));
  });

  it('runs what a team runs: git in a directory of somebody else', async () => {
    const repository = tree.directory('repository');
    const environment = { PATH: '/usr/bin:/bin', HOME: tree.path };
    const git = (...args: string[]) => execFileSync('git', args, { cwd: repository, env: environment });
    git('init', '-q');
    writeFileSync(join(repository, 'file'), 'x');
    git('add', '.');
    git('-c', 'user.name=a', '-c', 'user.email=a@b.c', 'commit', '-qm', 'first');
    const { outcome, stdout } = await runner.run(['git', 'log', '--format=%s'], { cwd: repository });
    expect([codesOf(outcome), stdout]).toEqual([[0], 'first\n']);
  });
});

import { once } from 'node:events';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { probeHost } from '@csc-fleet/sandbox/doctor';
import { findProxyUser } from '@csc-fleet/sandbox/host';
import { createBwrapLauncher, type LaunchedProcess, type Launcher } from '@csc-fleet/sandbox/launch';
import { toRunFacts } from '@csc-fleet/sandbox/plan';
import { childrenOf } from '@csc-fleet/test-kit/sandbox/find-processes';
import { createSandboxRunner, finish, openTestGroups } from '@csc-fleet/test-kit/sandbox/runner';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import systemCalls from '../../../sandbox/src/seccomp/system-calls.json' with { type: 'json' };
import { createEgress, type Egress } from './open-egress.ts';
import { openProxyFiles, type ProxyWorkshop, proxyLimits, startNode, toProxyPlace } from './proxy-process.ts';
import { type ProxyWord, ProxyWords } from './proxy-words.ts';

// Proxies in processes of their own, for jobs that do nothing but wait in their network to be entered.
let workshop: ProxyWorkshop;
let launcher: Launcher;
let server: Server;
let target: string;
const proxies: LaunchedProcess[] = [];

beforeAll(async () => {
  const facts = await probeHost({ runAs: { auto: true } });
  launcher = createBwrapLauncher({ facts, cgroups: openTestGroups() });
  const watched: Launcher = {
    ...launcher,
    launch(spec) {
      const launched = launcher.launch(spec);
      proxies.push(launched);
      return launched;
    },
  };
  workshop = { facts, launcher: watched, user: findProxyUser(facts.jobUsers), limits: proxyLimits };
  server = createServer((request, response) => {
    if (request.url === '/never') return;
    response.end(`answer ${request.url}`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  target = `localhost:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  launcher.close();
});

// The names that Python has none for.
const callNames = [
  ...[
    'ptrace',
    'kill',
    'tkill',
    'pidfd_open',
    'unshare',
    'clone',
    'execveat',
    'process_vm_readv',
    'mount',
    'bpf',
  ],
  ...['keyctl', 'userfaultfd', 'io_uring_setup', 'memfd_create', 'setns', 'perf_event_open', 'socket'],
];
const numbersOf = Object.fromEntries(
  Object.entries(systemCalls).map(([machine, table]) => [
    machine,
    Object.fromEntries(Object.entries(table).filter(([name]) => callNames.includes(name))),
  ]),
);

/** A job that goes on asking, and says of each request what came of it. */
async function startJob(): Promise<{ readonly job: LaunchedProcess; ask(): Promise<string> }> {
  const program = `
import urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": "http://127.0.0.1:3128"}))
for at in range(1000):
  try: print(opener.open("http://${target}/%d" % at, timeout=20).read().decode(), flush=True)
  except Exception as error: print("ended", type(error).__name__, flush=True)
`;
  const runner = createSandboxRunner(toRunFacts(workshop.facts), launcher);
  const job = await runner.launch([['python3', '-c', program]], {}, true);
  const lines = linesOf(job);
  return { job, ask: async () => (await lines.next()).value ?? '' };
}

async function* linesOf(job: LaunchedProcess): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of job.stdout) {
    const lines = `${rest}${String(chunk)}`.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

async function openFor(job: LaunchedProcess, faults: unknown[] = []): Promise<Egress> {
  return await createEgress(workshop)(job.inits, [[target]], (error) => faults.push(error));
}

describe('the process of a proxy', () => {
  it('ends its connections with it and nothing else, and another takes its place, whenever it is killed', async () => {
    const { job, ask } = await startJob();
    const faults: unknown[] = [];
    const egress = await openFor(job, faults);
    job.release();
    expect(await ask()).toBe('answer /0');
    const killProxy = async () => {
      const [init] = (await proxies.at(-1)?.inits) ?? [];
      if (init === undefined) throw new Error('no proxy is there');
      process.kill(init, 'SIGKILL');
    };
    for (let killed = 0; killed < 2; killed += 1) {
      await killProxy();
      for (let said = ''; !said.startsWith('answer') || faults.length <= killed; ) said = await ask();
    }
    // The last one is not there yet when all is over.
    await killProxy();
    while (faults.length < 3) await new Promise((done) => setImmediate(done));
    job.terminate(0);
    job.stderr.resume();
    await job.exited;
    const { allowed, hosts } = await egress.finish();
    expect(allowed).toBeGreaterThanOrEqual(3);
    expect(hosts).toContainEqual({
      host: '(proxy)',
      port: 0,
      verdict: 'denied',
      reason: 'proxy_lost',
      count: 3,
    });
    expect(faults).toHaveLength(3);
  });
});

function openOf(path: string): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return links.filter((link) => link === path).length;
}

it('a proxy that cannot be launched leaves no descriptor open', async () => {
  const { job } = await startJob();
  const failing: Launcher = {
    ...launcher,
    launch() {
      throw new Error('out of descriptors');
    },
  };
  const inits = await job.inits;
  // Of Node itself, which is the first of them: a stock of pipes comes and goes beside.
  const open = () => openOf(realpathSync(process.execPath));
  const attempt = () =>
    createEgress({ ...workshop, launcher: failing })(Promise.resolve(inits), [[target]], () => {});
  const before = open();
  await expect(attempt()).rejects.toThrow('out of descriptors');
  expect(open()).toBe(before);
  job.terminate(0);
  await finish(job);
});

describe('a proxy that is taken over', () => {
  let directory: string;
  let key: string;
  beforeAll(() => {
    // Where everybody may read, so that what is refused is not refused by a mode.
    directory = mkdtempSync('/dev/shm/csc-proxy-test-');
    key = join(directory, 'signing.key');
    for (const file of [key, join(directory, 'job-file')]) writeFileSync(file, 'secret', { mode: 0o666 });
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  /** Runs a program where a proxy would be. */
  async function runInPlace(...argv: readonly string[]): Promise<unknown> {
    const { passed, close } = openProxyFiles(workshop);
    const spec = { segments: [{ argv }], place: toProxyPlace(workshop), passed, hold: false };
    const { stdout, stderr } = await finish(launcher.launch(spec)).finally(close);
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  }

  it('becomes no other program, reads nothing of the host, and reaches no process', async () => {
    const hostile = `
process.dlopen({ exports: {} }, '/proc/self/fd/93');
const fs = require('node:fs'), { spawnSync } = require('node:child_process'), net = require('node:net');
const code = (act) => { try { return act(), 'done' } catch (error) { return error.code } };
const words = {
  exec: spawnSync('/usr/bin/true').error?.code,
  key: code(() => fs.readFileSync(${JSON.stringify(key)})),
  write: code(() => fs.writeFileSync('/run/csc/mine', '')),
  executor: code(() => process.kill(${process.pid}, 0)),
  environment: code(() => fs.readFileSync('/proc/${process.pid}/environ')),
  user: code(() => process.setuid(0)),
  capabilities: /^CapEff:\\s+(\\w+)/m.exec(fs.readFileSync('/proc/self/status'))?.[1],
  privileges: /^NoNewPrivs:\\s+(\\w+)/m.exec(fs.readFileSync('/proc/self/status'))?.[1],
};
const server = net.createServer().on('error', (error) => {
  words.listen = error.code;
  const socket = net.connect('/run/systemd/private').on('error', (failed) => {
    words.unix = failed.code;
    console.log(JSON.stringify(words));
    process.exit();
  });
});
server.listen(0, '127.0.0.1', () => { words.listen = 'done'; server.emit('error', { code: 'done' }); });
`;
    expect(await runInPlace(...startNode, '-e', hostile.replaceAll('\\\\', '\\'))).toEqual({
      exec: 'EPERM',
      key: 'ENOENT',
      write: 'EROFS',
      executor: 'EPERM',
      environment: 'ENOENT',
      user: 'EINVAL',
      capabilities: '0000000000000000',
      privileges: '1',
      listen: 'EACCES',
      unix: 'EACCES',
    });
  });

  it('fills no log with what it says of itself', async () => {
    const { job } = await startJob();
    const words = ['{"ready":true}', ...Array.from({ length: 1000 }, () => '{"fault":"x"}')];
    const text = `${[...words, '{"host":"a","port":1}'].join('\n')}\n`;
    const argv = [
      'python3',
      '-c',
      `print(${JSON.stringify(text)}, end="", flush=True); import time; time.sleep(60)`,
    ];
    const hostile = {
      ...launcher,
      launch: (spec: Parameters<Launcher['launch']>[0]) => launcher.launch({ ...spec, segments: [{ argv }] }),
    };
    const faults: unknown[] = [];
    const open = createEgress({ ...workshop, launcher: hostile });
    const egress = await open(job.inits, [[target]], (error) => faults.push(error));
    job.terminate(0);
    expect((await egress.finish()).allowed).toBe(1);
    expect(faults).toHaveLength(64);
    await finish(job);
  });

  it('asks the kernel for nothing that a proxy does not need', async () => {
    const hostile = `
import ctypes, errno, json, os, platform
libc = ctypes.CDLL(None, use_errno=True)
table = ${JSON.stringify(numbersOf)}[platform.machine()]
def ask(name, *given):
  ctypes.set_errno(0)
  done = libc.syscall(table[name], *given)
  if name == "clone" and done == 0: os._exit(0)
  return errno.errorcode.get(ctypes.get_errno(), "done") if done < 0 else "done"
words = {name: ask(name, *given) for name, given in {
  "ptrace": (0, 0, 0, 0), "kill": (1, 0), "tkill": (1, 0), "pidfd_open": (1, 0), "unshare": (0x10000000,),
  "clone": (17, 0, 0, 0, 0), "execveat": (0, 0, 0, 0, 0), "process_vm_readv": (1, 0, 0, 0, 0, 0),
  "mount": (0, 0, 0, 0, 0), "bpf": (0, 0, 0), "keyctl": (0, 0, 0, 0, 0), "userfaultfd": (0,),
  "io_uring_setup": (1, 0), "memfd_create": (b"x", 0), "setns": (0, 0), "perf_event_open": (0, 0, 0, 0, 0),
}.items()}
for name, given in {"unix": (1, 1, 0), "raw": (2, 3, 0), "netlink": (16, 3, 0), "packet": (17, 3, 0), "tcp": (2, 1, 0)}.items():
  words[name] = ask("socket", *given)
words["others"] = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 2 and int(pid) != os.getpid()]
words["files"] = [path for path in (${JSON.stringify(directory)}, "/root", "/home", "/var/lib", "/etc/shadow") if os.path.exists(path) and os.listdir(path) != ["user"]]
words["groups"] = len([group for group in os.getgroups() if group != 65534])
print(json.dumps(words))
`;
    const { tcp, others, files, groups, ...refused } = Object(await runInPlace('python3', '-c', hostile));
    expect({ tcp, others, files, groups }).toEqual({ tcp: 'done', others: [], files: [], groups: 0 });
    for (const [name, answer] of Object.entries(refused))
      expect([name, answer]).toEqual([name, expect.stringMatching(/^(EPERM|EACCES|ENOSYS)$/)]);
  });

  it.skipIf(process.getuid?.() !== 0)(
    'is neither root nor a user of the jobs, and gave up what it could',
    async () => {
      const { job } = await startJob();
      const egress = await openFor(job);
      const [init] = (await proxies.at(-1)?.inits) ?? [];
      const [node] = childrenOf(init);
      const status = readFileSync(`/proc/${node}/status`, 'latin1');
      job.terminate(0);
      await job.exited;
      await egress.finish();
      const ids = /^Uid:\s+(.+)$/m.exec(status)?.[1]?.split('\t').map(Number) ?? [];
      const closed = [0, process.getuid?.(), ...workshop.facts.jobUsers.all.map(({ uid }) => uid)];
      expect(status).toMatch(
        new RegExp(`^Seccomp_filters:\\s+${workshop.facts.seccomp.proxy.programs.length + 1}$`, 'm'),
      );
      expect(ids).toHaveLength(4);
      expect(ids.filter((uid) => closed.includes(uid))).toEqual([]);
    },
  );

  it.each([
    ['no JSON', 'hello\n'],
    ['a verdict with more to it', '{"host":"a","port":1,"verdict":"allowed"}\n'],
    ['a host that acts on a terminal', '{"host":"\\u001b[2J","port":1}\n'],
    ['a port that is none', '{"host":"a","port":70000}\n'],
    ['a reason of its own', '{"host":"a","port":1,"reason":"because"}\n'],
    ['a line without an end', 'x'.repeat(8193)],
    ['a line that is too long', `{"fault":"${'x'.repeat(1001)}"}\n`],
  ])('is not believed any more once it has said %s', (_, said) => {
    const heard: ProxyWord[] = [];
    let distrusted = 0;
    const words = new ProxyWords({ hear: (word) => heard.push(word), distrust: () => (distrusted += 1) });
    const sound = '{"host":"a.test","port":443}\n';
    for (const chunk of [sound.slice(0, 5), sound.slice(5), said, sound]) words.push(Buffer.from(chunk));
    expect(heard).toEqual([{ host: 'a.test', port: 443 }]);
    expect(distrusted).toBe(1);
  });
});

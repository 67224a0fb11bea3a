import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ownFilter } from '@csc-fleet/sandbox/seccomp';
import { childrenOf } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import systemCalls from '../../../sandbox/src/seccomp/system-calls.json' with { type: 'json' };
import { Measurer } from './measurer.ts';
import { MeasuringChild } from './measuring-child.ts';
import { fileTimeNow } from './written.ts';

const isRoot = process.getuid?.() === 0;
const nobody = { uid: 65534, gid: 65534 };
const credentials = isRoot ? nobody : undefined;
const sha256 = (text: string | Buffer) => createHash('sha256').update(text).digest('hex');
const never = new AbortController().signal;

let root: string;
let out: string;
let measurer: Measurer;

beforeEach(() => {
  // In memory: some tests make thousands of files.
  root = mkdtempSync('/dev/shm/csc-measure-');
  chmodSync(root, 0o755);
  out = join(root, 'out');
  mkdirSync(join(out, 'deep/er'), { recursive: true });
  if (isRoot) chownSync(out, nobody.uid, nobody.gid);
  measurer = new Measurer(credentials);
});

afterEach(() => {
  measurer.close();
  // Node's own removal knows no path that is longer than the kernel takes.
  execFileSync('rm', ['-rf', '--', root]);
});

/** A job as far as its traces go. */
function python(text: string): void {
  execFileSync('python3', ['-c', `import os, socket\nos.chdir(${JSON.stringify(out)})\n${text}`], {
    ...credentials,
  });
}

/** Enough for a child to be needed. */
const many = 'for i in range(1500): open(f"many{i}", "w")';

// The file system's clock ticks coarsely: what was written just before may carry the same time.
async function now(): Promise<bigint> {
  const scratch = join(root, 'now');
  const before = await fileTimeNow(scratch);
  for (;;) {
    const time = await fileTimeNow(scratch);
    if (time > before) return time;
  }
}

describe('hashing artifacts', () => {
  const hash = (names: string[], limits: { maxBytes?: number; ms?: number } = {}, signal = never) => {
    const paths = names.map((name) => (name.startsWith('/') ? name : join(out, name)));
    return measurer.hash({ paths, roots: [out], maxBytes: 1 << 30, ms: 30_000, ...limits }, signal);
  };
  const reasons = async (...given: Parameters<typeof hash>) =>
    (await hash(...given)).map((answer) => ('reason' in answer ? answer.reason : 'hashed'));

  it('says the hash of each regular file below a writable root, and why not of what else there is', async () => {
    writeFileSync(join(root, 'host-secret'), 'secret');
    writeFileSync(join(out, 'a'), 'alpha');
    symlinkSync(join(root, 'host-secret'), join(out, 'link'));
    symlinkSync(root, join(out, 'way'));
    execFileSync('mkfifo', [join(out, 'fifo')]);
    const names = ['a', 'none', 'a/b', 'link', 'way/host-secret', join(root, 'host-secret'), 'deep', 'fifo'];
    const [first, ...others] = await hash(names);
    expect(first).toEqual({ sha256: sha256('alpha') });
    expect(others).toEqual(
      ['missing', 'missing', 'not_a_file', 'not_writable', 'not_writable', 'not_a_file', 'not_a_file'].map(
        (reason) => ({ reason }),
      ),
    );
  });

  it('says the same where a child looks, as the user of the jobs', async () => {
    const large = Buffer.alloc(3 << 20, 'x');
    writeFileSync(join(out, 'large'), large);
    writeFileSync(join(out, 'closed'), large, { mode: 0o600 });
    symlinkSync(join(out, 'large'), join(out, 'link'));
    expect(await hash(['large', 'link', 'none'])).toEqual([
      { sha256: sha256(large) },
      { reason: 'not_a_file' },
      { reason: 'missing' },
    ]);
    writeFileSync(join(out, 'small'), 'secret', { mode: 0o600 });
    if (isRoot) expect(await reasons(['closed', 'small'])).toEqual(['unreadable', 'unreadable']);
  });

  it('reads an inode once, however many names it has, and holes within the bound only', async () => {
    writeFileSync(join(out, 'sparse'), '');
    truncateSync(join(out, 'sparse'), 24 << 20);
    const links = Array.from({ length: 24 }, (_, index) => `link${index}`);
    for (const link of links) linkSync(join(out, 'sparse'), join(out, link));
    // Room for one of them, and not for two.
    const answers = await hash(links, { maxBytes: 40 << 20 });
    expect(new Set(answers.map((answer) => JSON.stringify(answer)))).toEqual(
      new Set([JSON.stringify({ sha256: sha256(Buffer.alloc(24 << 20)) })]),
    );
    truncateSync(join(out, 'sparse'), 2 ** 42);
    expect(await reasons(['sparse'], { maxBytes: 40 << 20 })).toEqual(['artifact_bytes']);
  });

  it('leaves out what there are no bytes or is no time for', async () => {
    writeFileSync(join(out, 'a'), Buffer.alloc(600));
    writeFileSync(join(out, 'b'), Buffer.alloc(600));
    writeFileSync(join(out, 'c'), Buffer.alloc(300));
    const names = ['a', 'b', 'c'];
    expect(await reasons(names, { maxBytes: 1000 })).toEqual(['hashed', 'artifact_bytes', 'hashed']);
    expect(await reasons(names, { ms: 0 })).toEqual(Array(3).fill('artifact_sec'));
  });

  it('ends in the middle of a file when its time is over', async () => {
    writeFileSync(join(out, 'endless'), '');
    truncateSync(join(out, 'endless'), 2 ** 42);
    expect(await reasons(['endless'], { maxBytes: 2 ** 43, ms: 100 })).toEqual(['artifact_sec']);
  });

  it('ends in the middle of a file when it is cancelled, and its child with it', async () => {
    writeFileSync(join(out, 'a'), 'alpha');
    writeFileSync(join(out, 'endless'), '');
    truncateSync(join(out, 'endless'), 2 ** 42);
    const cancelling = new AbortController();
    // Of the worker that this file runs in, others may have children.
    const others = childrenOf(process.pid);
    const own = () => childrenOf(process.pid).filter((pid) => !others.includes(pid));
    const answers = reasons(['a', 'endless'], { maxBytes: 2 ** 43, ms: 600_000 }, cancelling.signal);
    while (own().every((pid) => !hasOpen(pid, join(out, 'endless'))))
      await new Promise((done) => setImmediate(done));
    cancelling.abort();
    expect((await answers)[1]).toBe('cancelled');
    while (own().length > 0) await new Promise((done) => setImmediate(done));
  });

  it('gets through twenty thousand paths', async () => {
    writeFileSync(join(out, 'last'), 'omega');
    const names = [...Array.from({ length: 20_000 }, (_, index) => `none${index}`), 'last'];
    expect((await hash(names)).at(-1)).toEqual({ sha256: sha256('omega') });
  });

  it('says of a file that another process has a lease on it, and waits for nobody', async () => {
    const file = join(out, 'leased');
    writeFileSync(file, 'x');
    if (isRoot) chownSync(file, nobody.uid, nobody.gid);
    const holder = `
import fcntl, os, sys, signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open(${JSON.stringify(file)}, os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
sys.stdout.write("held"); sys.stdout.flush(); sys.stdin.read()`;
    const { spawn } = await import('node:child_process');
    const child = spawn('python3', ['-c', holder], { stdio: ['pipe', 'pipe', 'inherit'], ...credentials });
    await new Promise((done) => child.stdout.once('data', done));
    expect(await reasons(['leased'])).toEqual(['busy']);
    child.stdin.end();
    await new Promise((done) => child.once('close', done));
    expect(await reasons(['leased'])).toEqual(['hashed']);
  });

  it('says of a file that was written while it was read that it changed', async () => {
    const file = join(out, 'growing');
    writeFileSync(file, '');
    truncateSync(file, 2 ** 29);
    let answer: readonly string[] | undefined;
    void reasons(['growing'], { maxBytes: 2 ** 43 }).then((reason) => {
      answer = reason;
    });
    // At every moment of the reading, as nobody sees when it has begun.
    for (let time = 0; answer === undefined; time += 1) {
      utimesSync(file, time, time);
      await new Promise((done) => setImmediate(done));
    }
    expect(answer).toEqual(['changed']);
  });
});

describe('finding expected outputs', () => {
  const find = async (...names: string[]) => {
    const declared = names.map((name) => (name.startsWith('/') ? name : join(out, name)));
    const found = await measurer.find(declared, { roots: [out], ms: 30_000 }, never);
    return found.map(({ paths, cut }) => [
      ...paths.map((path) => path.replace(`${out}/`, '')),
      ...(cut ?? []),
    ]);
  };

  beforeEach(() => {
    mkdirSync(join(out, 'deep/.cache'));
    for (const name of [
      'a.whl',
      'b.whl',
      '.c.whl',
      'deep/d.whl',
      'deep/er/e.whl',
      'deep/.cache/f',
      '[id].js',
    ])
      writeFileSync(join(out, name), name);
    writeFileSync(join(root, 'secret.whl'), 'secret');
    symlinkSync(join(root, 'secret.whl'), join(out, 'link.whl'));
    symlinkSync(root, join(out, 'way'));
  });

  it.each([
    ['a name', 'a.whl', ['a.whl']],
    ['a name that is not there', 'none', ['none']],
    ['a pattern', '*.whl', ['a.whl', 'b.whl']],
    ['one that nothing matches', 'none*', ['none*']],
    ['any number of directories', '**/*.whl', ['a.whl', 'b.whl', 'deep/d.whl', 'deep/er/e.whl']],
    ['a pattern in the middle', 'd??p/[!a-c].whl', ['deep/d.whl']],
    ['a directory with a slash', 'deep/', ['deep/.cache/f', 'deep/d.whl', 'deep/er/e.whl']],
    ['a tree', 'deep/**', ['deep/.cache/f', 'deep/d.whl', 'deep/er/e.whl']],
    ['all below what a pattern names', '*/er/**', ['deep/er/e.whl']],
    ['a real name with brackets', '[id].js', ['[id].js']],
    ['what is behind a symlink', 'way/*.whl', ['way/*.whl']],
    ['what a directory is not', 'deep', ['deep']],
  ])('takes %s for what is there', async (_, name, paths) => {
    expect(await find(name)).toEqual([paths]);
  });

  it('finds nothing outside of what may be written', async () => {
    expect(await find(join(root, '*.whl'), join(root, '**/secret.whl'))).toEqual([
      [join(root, '*.whl')],
      [join(root, '**/secret.whl')],
    ]);
  });

  it('shows a name that is not UTF-8 as nothing that is there', async () => {
    writeFileSync(Buffer.concat([Buffer.from(join(out, 'caf')), Buffer.from([0xe9])]), '');
    expect(await find('caf*')).toEqual([['caf\ufffd']]);
    const request = { paths: [join(out, 'caf\ufffd')], roots: [out], maxBytes: 1, ms: 30_000 };
    expect(await measurer.hash(request, never)).toEqual([{ reason: 'missing' }]);
  });

  it.each([
    ['closed', 'os.mkdir("hidden"); open("hidden/file", "w"); os.chmod("hidden", 0)'],
    [
      'made deeper than any path leads',
      'os.mkdir("hidden"); os.chdir("hidden")\nfor _ in range(60): os.mkdir("d" * 99); os.chdir("d" * 99)\nopen("file", "w")',
    ],
  ])('says that there may be more where a job has %s what it left', async (_, text) => {
    python(text);
    const request = { roots: [out], ms: 30_000 };
    const found = await measurer.find([join(out, 'hidden/**'), join(out, '*.whl')], request, never);
    expect(found).toEqual([
      { declared: join(out, 'hidden/**'), paths: [], cut: 'unreadable' },
      { declared: join(out, '*.whl'), paths: [join(out, 'a.whl'), join(out, 'b.whl')] },
    ]);
  });

  it('says that it ran out of time, whatever the pattern is', async () => {
    const evil = `${'*a'.repeat(40)}b`;
    writeFileSync(join(out, 'a'.repeat(200)), '');
    const impatient = new Measurer(credentials, 50);
    const [found] = await impatient.find([join(out, evil)], { roots: [out], ms: 1 }, never);
    impatient.close();
    expect(found).toMatchObject({ paths: [], cut: 'artifact_sec' });
  });
});

function hasOpen(pid: number, file: string): boolean {
  try {
    const links = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    return links.includes(file);
  } catch {
    return false;
  }
}

describe('measuring what was written', () => {
  const measure = (since: bigint, ms = 30_000) => measurer.measure({ roots: [out], since, ms });

  it('counts what was made or changed since, whatever its dates say, and nothing else', async () => {
    for (const name of ['old', 'changed', 'redated']) writeFileSync(join(out, name), 'x');
    const since = await now();
    writeFileSync(join(out, 'changed'), 'y');
    writeFileSync(join(out, 'deep/er/new'), 'z');
    utimesSync(join(out, 'redated'), 0, 0);
    symlinkSync('/etc/passwd', join(out, 'link'));
    expect(await measure(since)).toMatchObject({ files: 3, inodes: 4, complete: true });
    const roots = [join(out, 'old'), join(out, 'deep/er/new'), join(root, 'missing')];
    expect(await measurer.measure({ roots, since, ms: 1000 })).toMatchObject({ files: 1, complete: true });
  });

  it.each([
    ['at once', ''],
    ['by a child', many],
  ])(
    'counts directories, symlinks, sockets and FIFOs, blocks and not lengths, hard links once (%s)',
    async (_, more) => {
      const since = await now();
      python(`
for i in range(100): os.mkdir(f"d{i}"); os.symlink("x" * 200, f"s{i}")
socket.socket(socket.AF_UNIX).bind("socket"); os.mkfifo("fifo")
open("sparse", "w").truncate(1 << 40)
open("full", "wb").write(b"x" * 8192)
for i in range(100): os.link("full", f"l{i}")
os.link("socket", "socket2")
${more}`);
      const { files, inodes, bytes, complete } = await measure(since);
      const extra = more === '' ? 0 : 1500;
      expect({ files, inodes, complete }).toEqual({ files: 2 + extra, inodes: 204 + extra, complete: true });
      expect(bytes).toBeGreaterThan(8192);
      expect(bytes).toBeLessThan(4 << 20);
    },
  );

  it("does not count what is another's of a directory that was there before", async () => {
    python('for i in range(5000): open("x" * 200 + str(i), "w")');
    const since = await now();
    python('open("mine", "w")');
    const { inodes, bytes } = await measure(since);
    expect(inodes).toBe(1);
    expect(bytes).toBeLessThan(4096);
  });

  it.each([
    ['at once', ''],
    ['by a child', many],
  ])('sees the bottom of a tree that no path leads to (%s)', async (_, more) => {
    const since = await now();
    python(`
top = os.getcwd()
for _ in range(150):
  os.mkdir("d" * 200)
  os.chdir("d" * 200)
open("file", "wb").write(b"x" * (1 << 20))
os.chdir(top)
${more}`);
    const { files, bytes, complete } = await measure(since);
    expect({ files, complete }).toEqual({ files: more === '' ? 1 : 1501, complete: true });
    expect(bytes).toBeGreaterThanOrEqual(1 << 20);
  });

  it('is not led out of a tree by a directory that moves, nor by a symlink', async () => {
    const since = await now();
    mkdirSync(join(root, 'elsewhere'));
    symlinkSync(join(root, 'elsewhere'), join(out, 'link'));
    writeFileSync(join(root, 'elsewhere/file'), 'x');
    renameSync(join(out, 'deep'), join(root, 'deep'));
    symlinkSync(join(root, 'deep'), join(out, 'deep'));
    writeFileSync(join(root, 'deep/er/file'), 'x');
    expect(await measure(since)).toMatchObject({ files: 0, inodes: 2 });
    const roots = [join(out, 'deep/er')];
    expect(await measurer.measure({ roots, since, ms: 1000 })).toMatchObject({ files: 0, complete: false });
  });

  it('ends when its time is over, and says so', async () => {
    const since = await now();
    python(many);
    expect(await measure(since, 0)).toMatchObject({ complete: false });
  });

  it('sees nothing in what earlier jobs have closed, and knows that it does not see into what this one has', async () => {
    python(`os.mkdir("before"); os.chmod("before", 0)\n${many}`);
    const since = await now();
    expect(await measure(since)).toMatchObject({ inodes: 0, complete: true });
    python('os.mkdir("now"); open("now/file", "w"); os.chmod("now", 0)');
    expect(await measure(since)).toMatchObject({ complete: false });
  });
});

describe('a measuring child', () => {
  it.skipIf(!isRoot)('has the rights of the job user only', async () => {
    const child = new MeasuringChild(nobody, 60);
    const hash = { paths: ['/etc/shadow'], roots: ['/etc'], maxBytes: 1e6, ms: 1000 };
    const answers: unknown[] = [];
    expect(await child.ask({ hash }, { ms: 30_000 }, (answer) => answers.push(answer))).toBe('done');
    expect(answers).toEqual([{ index: 0, reason: 'unreadable' }]);
    child.kill();
  });

  it.skipIf(!isRoot)('gives up all but reading, and is bounded by the kernel', async () => {
    const others = childrenOf(process.pid);
    const child = new MeasuringChild(nobody, 60);
    const search = { patterns: [], roots: [], most: 1, ms: 1000 };
    expect(await child.ask({ search }, { ms: 30_000 }, () => undefined)).toBe('done');
    const [pid] = childrenOf(process.pid).filter((it) => !others.includes(it));
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const said = (name: string) => new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'm').exec(status)?.[1];
    expect(['Uid', 'Groups', 'CapEff', 'CapPrm', 'NoNewPrivs', 'Seccomp'].map(said)).toEqual([
      ...['65534\t65534\t65534\t65534', '', '0000000000000000', '0000000000000000', '1', '2'],
    ]);
    const limits = readFileSync(`/proc/${pid}/limits`, 'latin1');
    for (const [name, most] of [
      ['cpu time', 60],
      ['data size', 2 ** 30],
      ['open files', 256],
      ['file size', 0],
    ])
      expect(limits).toMatch(new RegExp(`^Max ${name} +${most} +${most} `, 'm'));
    // Not even its own user, as leftovers of a job are, may look into it (ptrace(2), PR_SET_DUMPABLE).
    expect(() => execFileSync('cat', [`/proc/${pid}/environ`], { ...nobody, stdio: 'pipe' })).toThrow();
    child.kill();
  });

  it('could not change a file, nor do anything to another process of its user, by any call that the kernel has', () => {
    writeFileSync(join(out, 'file'), '', { mode: 0o600 });
    const program = `
import base64, ctypes, errno, json, os, platform
libc = ctypes.CDLL(None, use_errno=True)
table = ${JSON.stringify(systemCalls)}[platform.machine()]
text = base64.b64decode("${ownFilter('reader')?.toString('base64')}")
class Program(ctypes.Structure): _fields_ = [("count", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
def ask(name, *given):
  if name not in table: return "EPERM"
  ctypes.set_errno(0)
  return "done" if libc.syscall(table[name], *given) >= 0 else errno.errorcode[ctypes.get_errno()]
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(Program(len(text) // 8, text)), 0, 0) == 0
file, other, here = b"${join(out, 'file')}", os.getppid(), -100
said = {name: ask(name, *given) for name, given in {
  "chmod": (file, 0o777), "fchmodat2": (here, file, 0o777, 0), "utimes": (file, 0), "utime": (file, 0),
  "futimesat": (here, file, 0), "setxattrat": (here, file, 0, b"user.x", 0, 0), "file_setattr": (here, file, 0, 0, 0),
  "removexattrat": (here, file, 0, b"user.x"), "tgkill": (other, other, 0), "tkill": (other, 0), "kill": (other, 0),
  "prlimit64": (other, 7, 0, 0), "setpriority": (0, other, 19), "sched_setaffinity": (other, 0, 0),
  "sched_setscheduler": (other, 5, 0), "sched_setattr": (other, 0, 0), "ioprio_set": (1, other, 0),
  "process_mrelease": (-1, 0), "migrate_pages": (other, 0, 0, 0), "move_pages": (other, 0, 0, 0, 0, 0), "mq_unlink": (b"x",),
}.items()}
own = ctypes.create_string_buffer(16)
print(json.dumps([said, ask("prlimit64", 0, 7, 0, own)]))`;
    const said = execFileSync('python3', ['-c', program], { ...credentials, encoding: 'utf8' });
    const [refused, own]: [Record<string, string>, string] = JSON.parse(said);
    expect(Object.entries(refused).filter(([, answer]) => answer !== 'EPERM')).toEqual([]);
    expect(own).toBe('done');
  });

  it('takes nothing with it but what it was asked, whenever it is killed', async () => {
    truncateSync(openNew('large'), 64 << 20);
    truncateSync(openNew('some'), 2 << 20);
    const request = { roots: [out], maxBytes: 1 << 30, ms: 8000 };
    const others = childrenOf(process.pid);
    const own = () => childrenOf(process.pid).filter((pid) => !others.includes(pid));
    const kill = () => own().forEach((pid) => void process.kill(pid, 'SIGKILL'));
    const hashSome = () => measurer.hash({ ...request, paths: [join(out, 'some')] }, never);
    expect(await hashSome()).toEqual([{ sha256: expect.any(String) }]);
    kill();
    while (own().length > 0) await new Promise((done) => setImmediate(done));
    expect(await hashSome()).toEqual([{ sha256: expect.any(String) }]);
    let cut = 0;
    for (let turns = 0, isOver = false; !isOver; turns = turns * 4 + 1) {
      const hashing = measurer.hash({ ...request, paths: [join(out, 'large')] }, never);
      const ended = hashing.then(() => true);
      for (let turn = 0; turn < turns && !isOver; turn += 1)
        isOver = await Promise.race([ended, new Promise<false>((go) => setImmediate(go, false))]);
      kill();
      const answers = await hashing;
      // It may have said so in the moment in which it was killed.
      isOver ||= answers.some((it) => 'sha256' in it);
      if (!isOver) cut += 1;
      expect(answers).toEqual([isOver ? { sha256: expect.any(String) } : { reason: 'artifact_sec' }]);
    }
    expect(cut).toBeGreaterThan(0);
  });

  it('is gone with a request that takes too long', async () => {
    truncateSync(openNew('endless'), 2 ** 42);
    const child = new MeasuringChild(credentials, 60);
    const hash = { paths: [join(out, 'endless')], roots: [out], maxBytes: 2 ** 43, ms: 600_000 };
    expect(await child.ask({ hash }, { ms: 50 }, () => undefined)).toBe('cut');
    expect(child.isAlive).toBe(false);
    expect(await child.ask({ hash }, { ms: 50 }, () => undefined)).toBe('cut');
  });
});

function openNew(name: string): string {
  writeFileSync(join(out, name), '');
  return join(out, name);
}

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { jobUid } from '@csc-fleet/test-kit/fleet';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type RunProbe, testProbes, type Verdict } from './run-probe.ts';
import { Stage } from './stage.ts';

// Scopes under attack from both sides: by what earlier jobs have planted, and by somebody who swaps paths on the host.
let stage: Stage;
let outside: string;
beforeAll(async () => {
  stage = await Stage.visit('scopes');
  // No prefix of the policy covers it, and the job user could read and write there.
  outside = join(stage.fleet.directory, 'outside');
  own(mkdir(outside));
  writeFileSync(join(outside, 'file'), 'TREASURE');
  for (const file of [join(outside, 'file'), join(stage.fleet.workspace, 'hidden')]) own(file);
}, 60_000);
afterAll(() => stage?.[Symbol.asyncDispose]());

function own(path: string): string {
  if (process.getuid?.() === 0) chownSync(path, jobUid, jobUid);
  return path;
}

function mkdir(path: string): string {
  mkdirSync(path, { recursive: true });
  return path;
}

/** A job that does what the script says, in a directory of the workspace that it may write. */
async function job(name: string, text: string, scopes: Parameters<Stage['run']>[0] = {}) {
  const script = stage.script(`${name}.py`, text);
  return await stage.run({
    argv: ['python3', script],
    ...scopes,
    read_paths: [script, ...(scopes.read_paths ?? [])],
  });
}

/** A job that plants a symlink: what a later contract then finds in the workspace. */
async function plant(name: string, target: string): Promise<string> {
  const directory = stage.fleet.writable('planted');
  const { receipt } = await job(
    'plant',
    `import os\nos.symlink(${quote(target)}, ${quote(join(directory, name))})`,
    {
      write_paths: [directory],
    },
  );
  expect(receipt.status).toBe('success');
  return join(directory, name);
}

const quote = (text: string): string => JSON.stringify(text);

// Nothing of the command ran, and the submitter is told which path it is about.
async function blocked(running: ReturnType<Stage['run']>, path: string): Promise<Verdict> {
  const { receipt, stdout } = await running;
  const { status, error = '' } = receipt;
  return {
    held: status === 'blocked' && error.includes(path) && stdout === '',
    seen: { status, error, stdout },
  };
}

const declarations: RunProbe[] = [
  {
    area: 'filesystem_read',
    name: 'missing_path',
    tries: 'a read path that does not exist',
    expects: 'a refusal that names it; nothing runs',
    async attempt({ fleet }) {
      const missing = join(fleet.workspace, 'missing');
      return await blocked(stage.run({ argv: ['echo', 'ran'], read_paths: [missing] }), missing);
    },
  },
  {
    area: 'filesystem_write',
    name: 'created_path',
    tries: 'a write path two directories below what exists',
    expects: 'it is made for the job user, and written',
    async attempt({ fleet }) {
      const path = join(fleet.writable('grown'), 'a/b');
      const { receipt } = await job('grow', `open(${quote(join(path, 'file'))}, "w").write("x")`, {
        write_paths: [path],
      });
      const uid = existsSync(path) ? statSync(path).uid : -1;
      return { held: receipt.status === 'success' && uid === receipt.sandbox?.uid, seen: { uid, receipt } };
    },
  },
  {
    area: 'filesystem_read',
    name: 'planted_link',
    tries: 'to declare a symlink that a job has planted, which leads outside the policy',
    expects: 'a refusal that names it',
    async attempt() {
      const link = await plant('to-outside', outside);
      return await blocked(stage.run({ argv: ['cat', `${link}/file`], read_paths: [link] }), link);
    },
  },
  {
    area: 'filesystem_read',
    name: 'planted_chain',
    tries: 'to declare a chain of planted symlinks whose last one leads outside the policy',
    expects: 'a refusal that names it',
    async attempt() {
      await plant('last', outside);
      const link = await plant('first', './second/../last');
      mkdir(join(link, '..', 'second'));
      return await blocked(stage.run({ argv: ['cat', `${link}/file`], read_paths: [`${link}/**`] }), link);
    },
  },
  {
    area: 'filesystem_read',
    name: 'planted_match',
    tries: 'a pattern that matches a planted symlink which leads outside the policy',
    expects: 'a refusal, or a match that is not shown',
    async attempt() {
      const link = await plant('match.pem', join(outside, 'file'));
      const { stdout } = await stage.run({ argv: ['cat', link], read_paths: [join(link, '..', '*.pem')] });
      return { held: stdout === '', seen: stdout };
    },
  },
  {
    area: 'filesystem_write',
    name: 'planted_directory',
    tries: 'a write path, yet to be made, below a planted symlink that leads outside the policy',
    expects: 'a refusal, and nothing is made there',
    async attempt() {
      const link = await plant('door', outside);
      const path = join(link, 'made');
      const verdict = await blocked(stage.run({ argv: ['true'], write_paths: [path] }), link);
      const left = readdirSync(outside);
      return { held: verdict.held && left.join() === 'file', seen: [verdict.seen, left] };
    },
  },
  {
    area: 'filesystem_write',
    name: 'mount_below_writable',
    tries: 'to have a mount made below a write scope in which a symlink was planted (CVE-2026-87766)',
    expects: 'nothing appears where the symlink leads',
    async attempt({ fleet }) {
      const link = await plant('astray', join(fleet.workspace, 'hidden'));
      const tree = join(link, '..');
      const before = readdirSync(join(fleet.workspace, 'hidden'));
      // Whatever becomes of them: the made-up paths below the link must not be made on the host.
      await stage.run({ argv: ['true'], write_paths: [tree], cwd: tree, read_paths: [`${link}/**`] });
      await stage.run({ argv: ['true'], read_paths: [`${tree}/**`], write_paths: [join(link, 'made/deep')] });
      await stage.run({
        argv: ['true'],
        write_paths: [tree, join(tree, 'fresh')],
        read_paths: [join(link, 'secret.txt')],
      });
      const after = readdirSync(join(fleet.workspace, 'hidden')).filter((name) => name !== 'made');
      return { held: after.join() === before.join(), seen: { before, after } };
    },
  },
  {
    area: 'filesystem_write',
    name: 'nested_scopes',
    tries: 'to write beside a write scope that lies in a read scope which jobs can change',
    expects: 'only the write scope can be written',
    async attempt({ fleet }) {
      const tree = fleet.writable('nested');
      const inner = fleet.writable('nested/inner');
      const beside = own(mkdir(join(tree, 'beside')));
      const text = `
import os
def attempt(path):
    try:
        open(path, "w").write("x")
        print("wrote", os.path.basename(path))
    except OSError: pass
for path in ${JSON.stringify([join(tree, 'top'), join(beside, 'beside'), join(inner, 'inner')])}: attempt(path)
for old, new in ((${quote(inner)}, ${quote(join(tree, 'moved'))}), (${quote(beside)}, ${quote(join(inner, 'taken'))})):
    try:
        os.rename(old, new)
        print("moved", old)
    except OSError: pass
`;
      const { stdout } = await job('nested', text, { read_paths: [`${tree}/**`], write_paths: [inner] });
      return { held: stdout === 'wrote inner\n', seen: stdout };
    },
  },
  {
    area: 'filesystem_write',
    name: 'crowd',
    tries: 'to have a later job refused by hundreds of files beside its write scope',
    expects: 'it runs, sees them, and can write its scope only',
    async attempt({ fleet }) {
      const tree = fleet.writable('crowd');
      const inner = fleet.writable('crowd/inner');
      const leave = `for i in range(600): open(${quote(tree)} + f"/left{i}", "w").close()`;
      await job('crowder', leave, { write_paths: [tree] });
      const text = `
import os
print(len(os.listdir(${quote(tree)})))
for path in ${JSON.stringify([join(tree, 'top'), join(tree, 'left1'), join(inner, 'inner')])}:
    try:
        open(path, "w").write("x")
        print("wrote", os.path.basename(path))
    except OSError: pass
`;
      const { stdout } = await job('crowd', text, { read_paths: [`${tree}/**`], write_paths: [inner] });
      return { held: stdout === '601\nwrote inner\n', seen: stdout };
    },
  },
  {
    area: 'filesystem_write',
    name: 'inner_swap_race',
    tries: 'to swap a write scope in a read scope for a symlink, from a job that can write around it',
    expects:
      'the job gets what it declared or nothing, and nothing is made or mounted where the symlink leads',
    async attempt({ fleet }) {
      const tree = fleet.writable('inner-race');
      const inner = fleet.writable('inner-race/inner');
      symlinkSync(`../../../../../../../../etc`, join(tree, 'link'));
      const out = fleet.writable('inner-race-signals');
      const rival = job(
        'inner-rival',
        `
import ctypes, os
libc = ctypes.CDLL(None)
a, b = ${quote(inner)}.encode(), ${quote(join(tree, 'link'))}.encode()
open(${quote(join(out, 'ready'))}, "w").close()
while not os.path.exists(${quote(join(out, 'go'))}): libc.renameat2(-100, a, -100, b, 2)
`,
        { write_paths: [tree, out] },
      );
      while (!existsSync(join(out, 'ready'))) await sleep(5);
      const seen: string[] = [];
      const text = `
import os
print("astray" if os.access("/etc", os.W_OK) else "")
try: open(${quote(join(inner, 'mine'))}, "w").write("x"); print("wrote")
except OSError: print("not")
`;
      for (let turn = 0; turn < 10; turn += 1) {
        const { stdout, receipt } = await job('inner-race', text, {
          read_paths: [`${tree}/**`],
          write_paths: [inner],
        });
        seen.push(receipt.status === 'success' ? stdout.trim() : 'refused');
      }
      writeFileSync(join(out, 'go'), '');
      await rival;
      return { held: seen.every((it) => ['wrote', 'not', 'refused'].includes(it)), seen };
    },
  },
];

const names: RunProbe[] = [
  {
    area: 'filesystem_read',
    name: 'empty_pattern',
    tries: 'to see a working directory of which only a pattern without a match was declared',
    expects: 'an empty directory',
    async attempt({ fleet }) {
      const cwd = mkdir(join(fleet.workspace, 'narrow'));
      writeFileSync(join(cwd, 'secret.txt'), 'TREASURE');
      const { stdout, receipt } = await stage.run({
        argv: ['ls', '-A', cwd],
        cwd,
        read_paths: [join(cwd, '*.none'), join(cwd, '[id]*')],
      });
      return { held: receipt.status === 'success' && stdout === '', seen: [stdout, receipt.error] };
    },
  },
  {
    area: 'filesystem_read',
    name: 'exact_names',
    tries: 'names that are not UTF-8, names with brackets, a FIFO that a pattern meets',
    expects: 'what was declared is there, by its own bytes, and nothing beside it',
    async attempt({ fleet }) {
      const tree = mkdir(join(fleet.workspace, 'names'));
      for (const name of ['app/[id]/page', 'app/i/other', 'plain']) {
        mkdir(join(tree, name, '..'));
        writeFileSync(join(tree, name), name);
      }
      const latin = (path: string): Buffer => Buffer.concat([Buffer.from(path), Buffer.from([0xe9])]);
      mkdirSync(latin(join(tree, 'd')));
      writeFileSync(latin(join(tree, 'caf')), '');
      execFileSync('mkfifo', [join(tree, 'fifo')]);
      const text = `
import os
top = ${quote(tree)}.encode()
print(sorted(os.listdir(top)), os.listdir(top + b"/app"), os.path.isdir(top + b"/d\\xe9"))
`;
      const read_paths = [`${tree}/[cdf]*`, `${tree}/app/[id]/page`];
      const { stdout } = await job('names', text, { cwd: tree, read_paths });
      symlinkSync(latin(join(tree, 'd')), join(tree, 'link'));
      const there = 'import os\nprint(os.path.basename(os.getcwdb()))';
      const moved = await job('names-cwd', there, { cwd: join(tree, 'link'), read_paths: [] });
      const expected = "[b'app', b'caf\\xe9', b'd\\xe9'] [b'[id]'] True\n";
      return {
        held: stdout === expected && moved.stdout === "b'd\\xe9'\n",
        seen: [stdout, moved.stdout, moved.receipt.error],
      };
    },
  },
  {
    area: 'filesystem_write',
    name: 'joined_scopes',
    tries: 'to rename and hard-link between two write scopes of one tree, and to write beside them',
    expects: 'the one works, and nothing else of the tree can be changed, by any name',
    async attempt({ fleet }) {
      const tree = mkdir(join(fleet.workspace, 'joined'));
      for (const name of ['a', 'b/deep', 'beside', 'b/beside']) own(mkdir(join(tree, name)));
      for (const name of ['file', 'b/file', 'beside/file']) {
        writeFileSync(join(tree, name), '');
        own(join(tree, name));
      }
      symlinkSync('beside', join(tree, 'link'));
      const text = `
import os
os.chdir(${quote(tree)})
open("a/x", "w").close()
os.rename("a/x", "b/deep/x")
os.link("b/deep/x", "a/y")
for path in "new b/new file b/file beside/new beside/file b/beside/new link/new".split():
    for way in (path, "/proc/self/cwd/" + path, "a/../" + path, ${quote(tree)} + "/b/../" + path):
        try: open(way, "a").close(); print("wrote", way)
        except OSError: pass
for old, new in (("beside", "a/z"), ("file", "a/z"), ("link", "a/z"), ("a", "c"), ("b/deep", "b/c"), ("a/y", "file"), ("a/y", "c")):
    for move in (os.rename, os.link):
        try: move(old, new); print("moved", old, new)
        except OSError: pass
for path in "file b/file beside beside/file b .".split():
    try: os.chmod(path, 0o777); print("changed", path)
    except OSError: pass
    try: os.unlink(path); print("removed", path)
    except OSError: pass
print(sorted(os.listdir("a")), os.listdir("b/deep"))
`;
      const { stdout, receipt } = await job('joined', text, {
        cwd: tree,
        read_paths: [`${tree}/**`],
        write_paths: [join(tree, 'a'), join(tree, 'b/deep')],
      });
      return { held: stdout === "['y'] ['x']\n", seen: [stdout, receipt.error] };
    },
  },
  {
    area: 'filesystem_write',
    name: 'closed_write_path',
    tries: 'to write into a write path that belongs to somebody else',
    expects: 'it fails, and the receipt says whose it is',
    async attempt({ fleet }) {
      const tree = join(fleet.workspace, 'closed');
      mkdirSync(tree, { mode: 0o755 });
      const write_paths = [tree, fleet.writable('open')];
      const { receipt } = await stage.run({ argv: ['touch', join(tree, 'f')], write_paths });
      const { status, error = '' } = receipt;
      return {
        held: status === 'failed' && error.includes('belongs to uid 0') && !error.includes('EXDEV'),
        seen: receipt,
      };
    },
  },
  {
    area: 'filesystem_read',
    name: 'closed_cwd',
    tries: 'a working directory that the job user may not enter',
    expects: 'a refusal that names it; nothing runs',
    async attempt({ fleet }) {
      const cwd = join(fleet.workspace, 'closed-cwd');
      mkdirSync(cwd, { mode: 0o700 });
      return await blocked(stage.run({ argv: ['echo', 'ran'], cwd, read_paths: [] }), `may not enter ${cwd}`);
    },
  },
  {
    area: 'filesystem_write',
    name: 'single_file',
    tries: 'to replace a write path that is one file, as sed -i does',
    expects: 'it fails, the receipt says why, and writing in place works',
    async attempt({ fleet }) {
      const tree = mkdir(join(fleet.workspace, 'single'));
      const file = join(tree, 'config.ini');
      writeFileSync(file, 'a');
      own(file);
      const text = `
import os, tempfile
for place in (${quote(tree)}, "/tmp"):
    try: os.replace(tempfile.mkstemp(dir=place)[1], ${quote(file)})
    except OSError: pass
    else: raise SystemExit(0)
raise SystemExit(4)
`;
      const { receipt } = await job('single', text, { write_paths: [file] });
      await stage.run({ argv: ['cp', '/etc/hosts', file], write_paths: [file] });
      const held =
        receipt.status === 'failed' &&
        receipt.error?.includes('in place') === true &&
        statSync(file).size > 1;
      return { held, seen: receipt };
    },
  },
  {
    area: 'filesystem_write',
    name: 'output_file',
    tries: 'write paths that are not there yet: an output file that is written, one that is not, a directory',
    expects: 'a file, nothing, and a directory',
    async attempt({ fleet }) {
      const tree = fleet.writable('fresh');
      const [report, never, out] = ['report.json', 'never.json', 'out'].map((name) => join(tree, name));
      const { receipt } = await stage.run(
        { argv: ['cp', '/etc/hosts', `${report}`], write_paths: [`${report}`, `${never}`, `${out}/`] },
        { expected_outputs: [`${report}`, `${never}`] },
      );
      const kinds = readdirSync(tree, { withFileTypes: true }).map((it) => `${it.name} ${it.isFile()}`);
      const paths = receipt.artifacts?.map(({ path }) => path);
      return {
        held:
          kinds.sort().join() === 'out false,report.json true' &&
          paths?.join() === report &&
          receipt.effect_summary?.files_written === 1,
        seen: [kinds, receipt],
      };
    },
  },
];

// Exchanges two paths, over and over, sometimes in bursts and sometimes after a pause in which a launch has the time to
// come through: each is a moment of its own.
const exchange = `
import ctypes, random, sys, time
libc = ctypes.CDLL(None)
a, b = (path.encode() for path in sys.argv[1:])
print("ready", flush=True)
while libc.renameat2(-100, a, -100, b, 2) == 0: time.sleep(random.choice((0, 0.001, 0.005, 0.02)))
`;

async function startExchange(a: string, b: string): Promise<ChildProcess> {
  const child = spawn('/usr/bin/python3', ['-c', exchange, a, b], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

/**
 * Runs contracts while a directory and a symlink to the outside take turns at its path, until at least one has come
 * through. Says how each ended.
 */
async function race(name: string, contractsOf: (path: string) => Parameters<Stage['run']>[0]) {
  const path = own(mkdir(join(stage.fleet.workspace, name, 'real')));
  own(join(path, '..'));
  own(mkdir(join(path, 'sub')));
  writeFileSync(join(path, 'file'), 'harmless');
  const link = join(path, '../link');
  symlinkSync(outside, link);
  const swapping = await startExchange(path, link);
  const seen: string[] = [];
  try {
    for (let turn = 0; turn < 15 || (turn < 300 && !seen.includes('success')); turn += 1) {
      const { stdout, receipt } = await stage.run(contractsOf(path));
      seen.push(receipt.status === 'success' ? 'success' : (receipt.error ?? receipt.status));
      if (stdout.includes('TREASURE')) seen.push('TREASURE');
    }
  } finally {
    const gone = once(swapping, 'exit');
    swapping.kill('SIGKILL');
    await gone;
  }
  return seen;
}

// Nobody would know of a hole if every contract were refused.
const isSafe = (seen: readonly string[]): boolean => seen.includes('success') && !seen.includes('TREASURE');

const swaps: RunProbe[] = [
  {
    area: 'filesystem_read',
    name: 'swap_while_running',
    tries: 'to put a symlink in the place of a read scope while the job runs',
    expects: 'the job goes on to see what was there when it was opened',
    async attempt({ fleet }) {
      const path = own(mkdir(join(fleet.workspace, 'swapped')));
      writeFileSync(join(path, 'file'), 'harmless');
      const out = fleet.writable('signals');
      const text = `
import os, time
print(open(${quote(join(path, 'file'))}).read())
open(${quote(join(out, 'ready'))}, "w").close()
while not os.path.exists(${quote(join(out, 'go'))}): time.sleep(0.01)
print(open(${quote(join(path, 'file'))}).read())
`;
      const running = job('swapped', text, { read_paths: [path], write_paths: [out] });
      while (!existsSync(join(out, 'ready'))) await sleep(5);
      renameSync(path, `${path}.old`);
      symlinkSync(outside, path);
      writeFileSync(join(out, 'go'), '');
      const { stdout } = await running;
      return { held: stdout === 'harmless\nharmless\n', seen: stdout };
    },
  },
  {
    area: 'filesystem_read',
    name: 'swap_race',
    tries: 'to swap a read scope for a symlink between the check and the mount',
    expects: 'the checked directory or a refusal, never what the symlink leads to',
    async attempt() {
      const seen = await race('race-read', (path) => ({
        argv: ['cat', join(path, 'file')],
        read_paths: [path],
      }));
      return { held: isSafe(seen), seen };
    },
  },
  {
    area: 'filesystem_read',
    name: 'swap_race_cwd',
    tries: 'to swap the working directory for a symlink between the check and the mount',
    expects: 'the checked directory or a refusal, never what the symlink leads to',
    async attempt() {
      const seen = await race('race-cwd', (path) => ({ argv: ['cat', 'file'], cwd: path, read_paths: [] }));
      return { held: isSafe(seen), seen };
    },
  },
  {
    area: 'filesystem_write',
    name: 'swap_race_write',
    tries: 'to swap a write scope, and the parent of one that is yet to be made, for a symlink',
    expects: 'nothing appears where the symlink leads',
    async attempt() {
      const before = readdirSync(outside);
      const seen = [
        ...(await race('race-write', (path) => ({
          argv: ['touch', join(path, 'planted')],
          write_paths: [path],
        }))),
        ...(await race('race-made', (path) => ({ argv: ['true'], write_paths: [join(path, 'made')] }))),
      ];
      const after = readdirSync(outside);
      return { held: after.join() === before.join() && isSafe(seen), seen: [after, seen] };
    },
  },
];

describe('what a contract declares', () => testProbes(declarations, () => stage));
describe('what names mean', () => testProbes(names, () => stage));
describe('paths that change', () => testProbes(swaps, () => stage));

import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { createSandboxRunner, finish, openTestGroups } from '@csc-fleet/test-kit/sandbox/runner';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { probeHost } from '../doctor/probe-host.ts';
import { type KeptPlace, type RunFacts, toRunFacts } from '../plan/facts.ts';
import { type BwrapLauncher, createBwrapLauncher } from './bwrap-launcher.ts';

let facts: RunFacts;
beforeAll(async () => {
  facts = toRunFacts(await probeHost());
});

// The job's own, as everything is where an executor is not root: no mode keeps it from the job.
let tree: TestTree;
beforeEach(() => {
  tree = makeTree();
  chownSync(tree.path, facts.jobUser.uid, facts.jobUser.gid);
});
afterEach(() => tree.remove());

function own(name: string, content: string): string {
  const file = join(tree.path, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content, { mode: 0o600 });
  for (let at = file; at !== tree.path; at = dirname(at)) chownSync(at, facts.jobUser.uid, facts.jobUser.gid);
  return file;
}

const isRoot = process.getuid?.() === 0;
const secret = (...names: string[]): KeptPlace[] =>
  names.map((name) => ({ path: join(tree.path, name), name: `the ${name}`, isSecret: true }));

// Everything of the tree that it can read, and whether it can put something there.
const readAll =
  'cd "$0"; find . | sort; find . -type f -exec cat {} +; for d in $(find . -type d); do touch $d/x && echo WRITTEN; done';

describe.each([
  ['csc-launcher', undefined],
  ['the tools that stand in for it', null],
])('a job that is started by %s', (_, path) => {
  let launcher: BwrapLauncher;
  beforeAll(() => {
    const launches = path === undefined ? {} : { launcher: path };
    launcher = createBwrapLauncher({ facts, cgroups: openTestGroups(), ...launches });
  });
  afterAll(() => launcher.close());

  /** A job that may read the whole tree, started as far as that it looks at the tree once `work/go` is there. */
  const start = async (kept: KeptPlace[], changes: Partial<RunFacts> = {}, readPaths = [tree.path]) => {
    const go = own('work/live', 'LIVE\n').replace('live', 'go');
    const runner = createSandboxRunner({ ...facts, ...changes, kept }, launcher);
    const script = `while [ ! -e ${go} ]; do echo; sleep 0.02; done; ${readAll}`;
    const launched = await runner.launch([['sh', '-c', script, tree.path]], { readPaths });
    const begun = new Promise((resolve) => launched.stdout.once('readable', resolve));
    const ended = finish(launched);
    await begun;
    return async () => {
      writeFileSync(go, '');
      const { stdout } = await ended;
      expect(stdout).toContain('LIVE');
      return stdout;
    };
  };

  it('finds the state directory empty, and a key and a config not there, where it may read all around them', async () => {
    own('home/state/csc/receipt.key', 'SECRET');
    own('home/state/csc/spool/run', 'SECRET');
    own('home/keys/tls.key', 'SECRET');
    own('home/keys/tls.pem', 'PUBLIC');
    own('home/executor.yaml', 'SECRET');
    // A renewal that is under way, or was killed.
    own('home/keys/tls.key.0123456789ab.partial', 'SECRET');
    own('home/led.key.0123456789ab.partial', 'SECRET');
    // What other tools, editors and people leave of earlier ones.
    for (const name of [
      'tls.key.old',
      'tls.key.bak',
      'tls.key~',
      'tls.key.2026-11-28',
      'tls.key-old.1',
      '.tls.key.swp',
    ])
      own(`home/keys/${name}`, 'SECRET');
    own('home/led.key.bak', 'SECRET');
    own('home/keys/tls.key.pub', 'PUBLIC');
    symlinkSync('keys/tls.key', join(tree.path, 'home/led.key'));
    const kept = secret('home/state/csc', 'home/led.key', 'home/executor.yaml');
    const seen = await (await start(kept))();
    expect(seen).toContain('PUBLIC');
    expect(seen).not.toMatch(/SECRET|WRITTEN/);
    const names = seen.split('\n').filter((line) => line.startsWith('./home/'));
    const shown = ['keys', 'keys/tls.key.pub', 'keys/tls.pem', 'state', 'state/csc'];
    expect(names).toEqual(shown.map((name) => `./home/${name}`));
  });

  it('finds nothing of what is put into the state directory, or in the place of a key, while it runs', async () => {
    const key = own('keys/tls.key', 'SECRET 1');
    own('state/journal', 'SECRET');
    const look = await start(secret('keys/tls.key', 'state'));
    // As whoever renews it does: the mount over a file goes with the file.
    renameSync(own('keys/new', 'SECRET 2'), key);
    own('state/later', 'SECRET');
    expect(await look()).not.toContain('SECRET');
  });

  it('finds nothing where a renewal leads a symlink to the next key', async () => {
    own('tls/..1/tls.key', 'SECRET 1');
    symlinkSync('..1', join(tree.path, 'tls/..data'));
    symlinkSync('..data/tls.key', join(tree.path, 'tls/tls.key'));
    const look = await start(secret('tls/tls.key'));
    own('tls/..2/tls.key', 'SECRET 2');
    symlinkSync('..2', join(tree.path, 'tls/..next'));
    renameSync(join(tree.path, 'tls/..next'), join(tree.path, 'tls/..data'));
    rmSync(join(tree.path, 'tls/..1'), { recursive: true });
    expect(await look()).not.toContain('SECRET');
  });

  it('finds no earlier key where a renewal numbers them, nor the next one', async () => {
    for (const name of ['privkey1.pem', 'privkey2.pem']) own(`archive/host/${name}`, 'SECRET');
    own('archive/host/cert2.pem', 'PUBLIC');
    own('live/host/README', 'PUBLIC');
    symlinkSync('../../archive/host/privkey2.pem', join(tree.path, 'live/host/privkey.pem'));
    const look = await start(secret('live/host/privkey.pem'));
    own('archive/host/privkey3.pem', 'SECRET');
    const seen = await look();
    expect(seen).toContain('archive/host/cert2.pem');
    expect(seen).not.toContain('SECRET');
  });

  it('finds nothing of a place that is made while it runs, by whatever directories are missing', async () => {
    own('home/.config/other/settings', 'PUBLIC');
    const look = await start(secret('home/.config/csc', 'home/.local/state/csc'));
    own('home/.config/csc/submitter.key', 'SECRET');
    own('home/.local/state/csc/seal-keys/key', 'SECRET');
    const seen = await look();
    expect(seen).toContain('PUBLIC');
    expect(seen).not.toContain('SECRET');
  });

  it('finds nothing where symlinks lead to such a place, or out of it, or where every sandbox shows what holds it', async () => {
    own('disk/csc/key', 'SECRET');
    own('vault/key', 'SECRET');
    symlinkSync('../../vault/key', join(tree.path, 'disk/csc/led'));
    symlinkSync('disk', join(tree.path, 'state'));
    own('system/csc/key', 'SECRET');
    own('system/csc/ca.pem', 'PUBLIC');
    const { etc } = facts;
    const system = { etc: { ...etc, live: [...etc.live, join(tree.path, 'system')] } };
    const readPaths = ['disk', 'state', 'vault', 'work'].map((name) => join(tree.path, name));
    const kept = secret('state/csc', 'system/csc/key');
    const seen = await (await start(kept, system, readPaths))();
    expect(seen).toContain('PUBLIC');
    expect(seen).not.toContain('SECRET');
  });

  const closeTo = (mode: number): void => {
    own('closed/key', 'SECRET');
    chmodSync(tree.file('closed/note', 'CLOSED'), 0o644);
    const closed = join(tree.path, 'closed');
    chownSync(closed, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
    chmodSync(closed, mode);
  };

  // Not even its owner may enter the first: root alone. The second is for a group that the job is not in.
  it.each([0o600, ...(isRoot ? [0o750] : [])])(
    'is not let into a directory that was closed to it because a key lies in there: %o',
    async (mode) => {
      closeTo(mode);
      const seen = await (await start(secret('closed/key')))();
      expect(seen).not.toMatch(/SECRET|CLOSED/);
    },
  );

  it.runIf(isRoot)('opens what it knows the name of where it may not list what is beside a key', async () => {
    closeTo(0o711);
    const runner = createSandboxRunner({ ...facts, kept: secret('closed/key') }, launcher);
    const script = 'cat note; ls; chmod 755 .; ls; cat key';
    const job = ['sh', '-c', `cd "$0"; ${script}`, join(tree.path, 'closed')];
    for (const readPaths of [[tree.path], [join(tree.path, 'closed')]]) {
      const { stdout } = await finish(await runner.launch([job], { readPaths }));
      expect(stdout).toBe('CLOSED');
    }
  });
});

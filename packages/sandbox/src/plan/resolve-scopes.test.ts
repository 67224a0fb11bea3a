import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join, posix } from 'node:path';
import { makeFacts, makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodePath, maxNames } from '../host/index.ts';
import type { RunFacts } from './facts.ts';
import { maxMadeDirectories } from './missing-paths.ts';
import { maxSplitEntries } from './mount-read.ts';
import { makeMissing, resolveScopes } from './resolve-scopes.ts';
import { ScopeClaims } from './scope-claims.ts';
import { maxOpenScopes, type ResolvedScopes, type ScopeRequest } from './scopes.ts';

const own = { uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
const isRoot = own.uid === 0;
// Where the tests are not root, they are the job user themselves, and all that they own is writable by jobs.
const jobUser = isRoot ? { uid: 65534, gid: 65534 } : own;
const facts: RunFacts = makeFacts({ executorUid: own.uid, jobUser });
const refusal = (code: string, path: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(path) });

let tree: TestTree;
let open: ResolvedScopes[];
beforeEach(() => {
  tree = makeTree();
  open = [];
});
afterEach(() => {
  for (const scopes of open) scopes.close();
  tree.remove();
});

interface Request {
  readonly cwd?: string;
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  readonly readPrefixes?: readonly string[];
  readonly writePrefixes?: readonly string[];
  readonly cwdPrefixes?: readonly string[];
  readonly claims?: ScopeClaims;
}

function toScopeRequest(request: Request): ScopeRequest {
  const under = (names: readonly string[] = []): string[] => names.map((name) => join(tree.path, name));
  return {
    cwd: request.cwd ?? '/',
    readPaths: under(request.read),
    writePaths: under(request.write),
    policy: {
      allowed_cwd_prefixes: request.cwdPrefixes ?? ['/'],
      allowed_read_prefixes: request.readPrefixes ?? [tree.path],
      allowed_write_prefixes: request.writePrefixes ?? [tree.path],
    },
    ...(request.claims === undefined ? {} : { claims: request.claims }),
  };
}

function resolve(request: Request): ResolvedScopes {
  const scopes = resolveScopes(toScopeRequest(request), facts);
  open.push(scopes);
  return scopes;
}

// As after a redeem.
function makeAndResolve(request: Request): ResolvedScopes {
  makeMissing(toScopeRequest(request), facts);
  return resolve(request);
}

// "r:" and "w:", and the path below the tree.
function show({ binds }: ResolvedScopes): string[] {
  return binds.map(
    ({ writable, destination }) => `${writable ? 'w' : 'r'}:${destination.slice(tree.path.length + 1)}`,
  );
}

const keptAt = (name: string) => ({ path: join(tree.path, name), name });

describe('what a scope may be', () => {
  it('is opened where it is, without reading it', () => {
    const file = tree.file('a.txt', 'x');
    const [bind] = resolve({ read: ['a.txt'] }).binds;
    expect(bind).toMatchObject({ source: file, destination: file, writable: false });
    expect(fstatSync(bind?.fd ?? -1).ino).toBe(statSync(file).ino);
  });

  it('must exist to be read', () => {
    expect(() => resolve({ read: ['nothing'] })).toThrow(refusal('SCOPE_NOT_FOUND', 'nothing'));
  });

  it('is a tree or what a glob matches now', () => {
    for (const name of ['a.json', 'b.json', 'c.txt', 'src/x']) tree.file(name);
    expect(show(resolve({ read: ['src/**'] }))).toEqual(['r:src']);
    expect(show(resolve({ read: ['*.json'] }))).toEqual(['r:a.json', 'r:b.json']);
    const none = resolve({ read: ['*.none'] });
    expect([show(none), none.notes]).toEqual([[], [expect.stringContaining('*.none')]]);
  });

  it('is not the whole file system, nor what the kernel shows', () => {
    const policy = {
      allowed_cwd_prefixes: ['/'],
      allowed_read_prefixes: ['/'],
      allowed_write_prefixes: ['/'],
    };
    for (const path of ['/', '/**', '/proc', '/sys/kernel', '/dev/shm/x', '/dev/**']) {
      const request = { cwd: '/', readPaths: [path], writePaths: [], policy };
      expect(() => resolveScopes(request, facts)).toThrow(expect.objectContaining({ name: 'CscError' }));
    }
  });

  it('lets nothing write where csc keeps what later runs believe: not it, above it, by a link, nor before it is there', () => {
    tree.directory('cache/csc');
    tree.directory('cache/npm');
    symlinkSync('cache', join(tree.path, 'link'));
    for (const kept of ['cache/csc', 'link/csc', 'cache/csc/new']) {
      const places = [
        { path: '/nowhere/csc', name: 'another' },
        { path: join(tree.path, kept), name: 'the cache' },
      ];
      const own = { ...facts, kept: places };
      const write = (...paths: string[]) => toScopeRequest({ write: paths });
      for (const path of [
        'cache',
        'cache/**',
        'c*',
        'cache/csc',
        'link',
        'link/csc',
        'cache/csc/new/etc.bin',
      ]) {
        expect(() => resolveScopes(write(path), own)).toThrow(refusal('NOT_PERMITTED', 'cache/csc'));
      }
      expect(() => makeMissing(write('cache/csc/new/etc.bin'), own)).toThrow(refusal('NOT_PERMITTED', 'csc'));
      open.push(resolveScopes(write('cache/npm'), own));
      open.push(resolveScopes(toScopeRequest({ read: ['cache'] }), own));
    }
  });

  it('lets nothing write where csc is led to what it believes: not above a symlink on the way, nor where one ends that is not there', () => {
    for (const name of ['state/csc', 'home/user', 'ahead']) tree.directory(name);
    symlinkSync('../../state', join(tree.path, 'home/user/.state'));
    symlinkSync('../../ahead/made', join(tree.path, 'home/user/.ahead'));
    for (const [kept, taken, free] of [
      ['home/user/.state/csc', ['home', 'home/user', 'state', 'state/csc'], 'ahead'],
      ['home/user/.ahead/csc', ['home', 'home/user', 'ahead', 'ahead/made', 'ahead/made/csc'], 'state'],
    ] as const) {
      const own = { ...facts, kept: [{ path: join(tree.path, kept), name: 'the state directory' }] };
      for (const path of taken) {
        const write = toScopeRequest({ write: [path] });
        expect(() => resolveScopes(write, own)).toThrow(refusal('NOT_PERMITTED', 'the state directory'));
      }
      open.push(resolveScopes(toScopeRequest({ write: [free] }), own));
    }
  });

  it('lets nothing write where csc is led from within what it believes: neither that, nor above it, nor above the symlink', () => {
    for (const name of ['host/policies', 'repo/policies', 'disk', 'work']) tree.directory(name);
    tree.file('repo/policies/ci.yaml');
    symlinkSync('../../repo/policies/ci.yaml', join(tree.path, 'host/policies/ci.yaml'));
    symlinkSync('../../disk/made/later', join(tree.path, 'host/policies/archive'));
    const kept = [{ path: join(tree.path, 'host/policies'), name: 'the policies' }];
    const places = ['host', 'repo', 'repo/policies', 'repo/policies/ci.yaml', 'disk', 'disk/made'];
    for (const path of places) {
      const write = toScopeRequest({ write: [path] });
      expect(() => resolveScopes(write, { ...facts, kept })).toThrow(
        refusal('NOT_PERMITTED', 'the policies'),
      );
    }
    for (const path of ['work', 'repo/other'])
      open.push(resolveScopes(toScopeRequest({ write: [path] }), { ...facts, kept }));
  });

  it('is nothing that csc keeps to itself: not it, in it, by a link or as a cwd; a pattern passes over it', () => {
    tree.file('keys/a.key');
    tree.file('keys/b.pem');
    tree.file('state/csc/journal');
    symlinkSync('state', join(tree.path, 'link'));
    const places = [
      ...['keys/a.key', 'link/csc'].map((it) => ({ ...keptAt(it), isSecret: true as const })),
      keptAt('keys/b.pem'),
    ];
    const own = { ...facts, kept: places };
    for (const path of ['keys/a.key', 'state/csc', 'state/csc/**', 'state/csc/journal', 'link/csc/journal']) {
      const read = toScopeRequest({ read: [path] });
      expect(() => resolveScopes(read, own)).toThrow(refusal('NOT_PERMITTED', 'keeps to itself'));
    }
    const cwd = { ...toScopeRequest({}), cwd: join(tree.path, 'link/csc') };
    expect(() => resolveScopes(cwd, own)).toThrow(refusal('NOT_PERMITTED', 'cwd'));
    // A renewal that is under way, or was killed.
    tree.file('keys/a.key.0123456789ab.partial');
    tree.file('keys/a.key.bak');
    expect(() => resolveScopes(toScopeRequest({ read: ['keys/a.key.bak'] }), own)).toThrow(
      refusal('NOT_PERMITTED', 'keeps to itself'),
    );
    const scopes = resolveScopes(toScopeRequest({ read: ['keys/*', 'state/*', 'keys/b.pem'] }), own);
    open.push(scopes);
    expect([show(scopes), scopes.masks]).toEqual([['r:keys/b.pem'], []]);
    expect(scopes.notes).toHaveLength(3);
  });

  it('is nothing of that by a name with `..` behind a symlink, whichever way csc itself reads it', () => {
    for (const name of ['disk/sub', 'disk/state', 'state']) tree.directory(name);
    symlinkSync('disk/sub', join(tree.path, 'link'));
    const path = `${tree.path}/link/../state`;
    for (const relative of [path, posix.relative(process.cwd(), tree.path).concat('/link/../state')]) {
      const own = {
        ...facts,
        kept: [{ path: relative, name: 'the state directory', isSecret: true as const }],
      };
      for (const name of ['disk/state', 'state']) {
        for (const scope of [{ read: [name] }, { write: [name] }])
          expect(() => resolveScopes(toScopeRequest(scope), own)).toThrow(
            refusal('NOT_PERMITTED', 'the state directory'),
          );
      }
      const scopes = resolveScopes(toScopeRequest({ read: ['disk'] }), own);
      open.push(scopes);
      expect(scopes.masks).toEqual([join(tree.path, 'disk/state')]);
    }
  });

  it('is shown without what csc keeps to itself, whoever may change what holds that', () => {
    for (const name of ['home/keys/a.key', 'home/keys/a.pem', 'home/state/journal', 'home/work/x'])
      tree.file(name);
    const kept = ['home/keys/a.key', 'home/state', 'home/.config/csc'].map((it) => ({
      ...keptAt(it),
      isSecret: true as const,
    }));
    const request = { read: ['home'], write: ['home/work'] };
    const resolveFor = (more: Partial<Request>): [string[], string[], readonly string[]] => {
      const scopes = resolveScopes(toScopeRequest({ ...request, ...more }), { ...facts, kept });
      open.push(scopes);
      const below = (paths: readonly string[]): string[] =>
        paths.map((path) => path.slice(tree.path.length + 1));
      return [show(scopes), below(scopes.masks), below(scopes.directories)];
    };
    const split = [['r:home/keys/a.pem', 'w:home/work'], [], ['home', 'home/keys', 'home/state']];
    expect(resolveFor({})).toEqual(split);
    tree.directory('home/.config');
    const masks = ['home/.config', 'home/keys', 'home/state'];
    expect(resolveFor({})).toEqual([['r:home', 'r:home/keys/a.pem', 'w:home/work'], masks, []]);
    chmodSync(join(tree.path, 'home'), 0o777);
    const claims = new ScopeClaims();
    claims.claim({ reads: [], writes: [join(tree.path, 'home')], fixed: [] });
    const [binds, none] = resolveFor({ claims });
    expect([binds, none]).toEqual([split[0], []]);
  });

  it('is refused where much lies beside what csc keeps to itself, and says what to do', () => {
    for (let index = 0; index <= maxSplitEntries; index += 1) tree.file(`home/f${index}`);
    const own = { ...facts, kept: [{ ...keptAt('home/.local/state/csc'), isSecret: true as const }] };
    const read = toScopeRequest({ read: ['home'] });
    expect(() => resolveScopes(read, own)).toThrow(
      refusal('NOT_PERMITTED', `without ${tree.path}/home/.local,`),
    );
    // Neither of the two ways to declare a directory is told of as the way around the other.
    expect(() => resolveScopes(read, own)).toThrow(
      /; move that into a directory of its own, .*no more than 256/,
    );
    expect(() => resolveScopes(toScopeRequest({ read: ['home/f*'] }), own)).toThrow(
      /; narrow it, or .* where all of it may be shown/,
    );
    tree.directory('home/.local');
    open.push(resolveScopes(read, own));
  });

  it('is not a socket, whose other end would be outside', async () => {
    const path = join(tree.path, 'socket');
    const server = createServer();
    await new Promise<void>((done) => server.listen(path, done));
    expect(() => resolve({ read: ['socket'] })).toThrow(refusal('NOT_PERMITTED', path));
    await new Promise((done) => server.close(done));
  });

  it('is no path of another system', () => {
    const policy = {
      allowed_cwd_prefixes: ['/'],
      allowed_read_prefixes: ['//host/share'],
      allowed_write_prefixes: [],
    };
    const request = { cwd: '/', readPaths: ['//host/share/x'], writePaths: [], policy };
    expect(() => resolveScopes(request, facts)).toThrow(expect.objectContaining({ name: 'CscError' }));
  });
});

describe('a declared path with the characters of patterns', () => {
  beforeEach(() => {
    for (const name of ['app/[id]/page.tsx', 'app/i/page.tsx', 'what?.md', 'whats.md']) tree.file(name);
  });

  it('is what is there by exactly its name, for reading and for writing', () => {
    expect(show(resolve({ read: ['app/[id]/page.tsx'] }))).toEqual(['r:app/[id]/page.tsx']);
    expect(show(resolve({ read: ['app/[id]/**'] }))).toEqual(['r:app/[id]']);
    expect(show(resolve({ write: ['app/[id]'] }))).toEqual(['w:app/[id]']);
    const question = resolve({ read: ['what?.md'] });
    expect([show(question), question.notes.length]).toEqual([['r:what?.md'], 1]);
  });

  it('can be written so that it is no pattern, there or not', () => {
    for (const written of [String.raw`app/\[id\]/new/`, 'app/[[]id]/new/', 'app/[id]/new']) {
      const scopes = resolve({ write: [written] });
      expect(scopes.missing).toEqual([join(tree.path, 'app/[id]/new')]);
    }
  });

  it('is held against the policy by where it leads, as patterns are', () => {
    symlinkSync('/etc', join(tree.path, '[ab]'));
    expect(() => resolve({ read: ['[ab]/passwd'] })).toThrow(refusal('NOT_PERMITTED', '/etc/passwd'));
    const readPrefixes = [join(tree.path, 'app/i')];
    expect(() => resolve({ read: ['app/[id]/page.tsx'], readPrefixes })).toThrow(
      refusal('NOT_PERMITTED', 'app/[id]'),
    );
  });
});

describe('names that are not UTF-8', () => {
  const latin = (path: string): Buffer => Buffer.concat([Buffer.from(path), Buffer.from([0xe9])]);
  const bytesOf = ({ binds }: ResolvedScopes): Buffer[] =>
    binds.map(({ destination }) => Buffer.from(encodePath(destination)));

  it('are shown where patterns meet them, and where trees are split around a write path', () => {
    tree.directory('w', jobUser);
    tree.directory('w/out', jobUser);
    const directory = latin(join(tree.path, 'w/d'));
    mkdirSync(directory);
    expect(bytesOf(resolve({ read: ['w/d*'] }))).toEqual([directory]);
    const split = resolve({ read: ['w'], write: ['w/out'] });
    expect([bytesOf(split), split.notes]).toEqual([[directory, Buffer.from(join(tree.path, 'w/out'))], []]);
  });

  it('are what symlinks may lead to', () => {
    const directory = latin(join(tree.path, 'd'));
    mkdirSync(directory);
    symlinkSync(directory, join(tree.path, 'link'));
    expect(bytesOf(resolve({ read: ['link'] }))).toEqual([directory]);
    expect(bytesOf(resolve({ cwd: join(tree.path, 'link') }))).toEqual([directory]);
  });
});

describe('what a pattern meets beside files and directories', () => {
  it('is left out with one note, by name; declared itself, it is refused', () => {
    tree.file('w/a.txt');
    execFileSync(
      'mkfifo',
      [1, 2, 3, 4].map((index) => join(tree.path, `w/f${index}`)),
    );
    const scopes = resolve({ read: ['w/*'] });
    expect([show(scopes), scopes.notes]).toEqual([['r:w/a.txt'], [expect.stringMatching(/w\/f1.* 1 more/)]]);
    expect(() => resolve({ read: ['w/f1'] })).toThrow(refusal('NOT_PERMITTED', 'w/f1'));
  });

  it('grants nothing where there is nothing else', () => {
    tree.directory('w');
    execFileSync('mkfifo', [join(tree.path, 'w/f')]);
    const scopes = resolve({ cwd: join(tree.path, 'w'), read: ['w/*'] });
    expect([show(scopes), scopes.notes.length]).toEqual([[], 2]);
  });
});

describe('many scopes', () => {
  it('are refused where trees would do', () => {
    const read = Array.from({ length: maxOpenScopes }, (_, index) => `f${index}`);
    for (const name of read) tree.file(name);
    expect(() => resolve({ read })).toThrow(expect.objectContaining({ code: 'NOT_PERMITTED' }));
  });
});

describe('a path of very many names', () => {
  const names = (count: number): string => `w/${'d/'.repeat(count)}`;

  it('is refused before it is looked for', () => {
    tree.directory('w', jobUser);
    for (const request of [{ read: [names(maxNames)] }, { write: [names(maxNames)] }])
      for (const attempt of [resolve, makeAndResolve])
        expect(() => attempt(request)).toThrow(refusal('NOT_PERMITTED', 'names'));
  });

  it('is not followed where symlinks make it so', () => {
    tree.directory('w/d');
    symlinkSync(`${'d/../'.repeat(maxNames)}d`, join(tree.path, 'w/long'));
    symlinkSync(`${'d/../'.repeat(9)}d`, join(tree.path, 'w/short'));
    expect(show(resolve({ read: ['w/short'] }))).toEqual(['r:w/d']);
    expect(() => resolve({ read: ['w/long'] })).toThrow(refusal('SCOPE_NOT_FOUND', 'w/long'));
  });
});

describe('symlinks', () => {
  it('may lead to what the policy covers, and are shown on the way', () => {
    tree.file('real/data/x');
    symlinkSync('real/data', join(tree.path, 'link'));
    const scopes = resolve({ read: ['link/x'] });
    expect(show(scopes)).toEqual(['r:real/data/x']);
    expect(scopes.links).toEqual([{ path: join(tree.path, 'link'), target: 'real/data' }]);
  });

  it('may not lead outside, for reading or for writing; what a pattern meets of them is left out', () => {
    symlinkSync('/etc', join(tree.path, 'link.d'));
    tree.directory('inner');
    symlinkSync('/etc/passwd', join(tree.path, 'inner/file.json'));
    expect(() => resolve({ read: ['link.d/hostname'] })).toThrow(refusal('NOT_PERMITTED', '/etc/hostname'));
    expect(() => resolve({ write: ['link.d'] })).toThrow(refusal('NOT_PERMITTED', '/etc'));
    tree.file('inner/own.json');
    const { notes, ...met } = resolve({ read: ['inner/*.json'] });
    expect([show({ notes, ...met }), met.links, notes]).toEqual([
      ['r:inner/own.json'],
      [],
      [expect.stringMatching(/lead outside.*inner\/file\.json$/)],
    ]);
    const written = resolve({ write: ['*.d'] });
    expect([show(written), written.notes.length]).toEqual([[], 2]);
    expect(() => resolve({ cwd: join(tree.path, 'link.d'), cwdPrefixes: [tree.path] })).toThrow(
      refusal('NOT_PERMITTED', '/etc'),
    );
  });

  it('that a bind shows anyway are not made again', () => {
    tree.file('a/real/x');
    symlinkSync('real', join(tree.path, 'a/link'));
    expect(resolve({ read: ['a', 'a/link/x'] }).links).toEqual([]);
  });
});

describe('what the job user cannot reach', () => {
  it('is refused with the directory that is closed', () => {
    tree.file('closed/inner/x');
    chmodSync(join(tree.path, 'closed'), isRoot ? 0o700 : 0o600);
    const attempt = () => resolve({ read: ['closed/inner'] });
    expect(attempt).toThrow(refusal('SCOPE_NOT_FOUND', join(tree.path, 'closed')));
    chmodSync(join(tree.path, 'closed'), 0o755);
    expect(show(resolve({ read: ['closed/inner'] }))).toEqual(['r:closed/inner']);
  });
});

describe('scopes that nest', () => {
  beforeEach(() => {
    for (const name of ['w/a.txt', 'w/out/o.txt', 'w/src/s.txt', 'w/src/gen/g.txt']) tree.file(name);
  });

  it('are not mounted twice', () => {
    expect(show(resolve({ read: ['w', 'w/src', 'w/src/s.txt', 'w'] }))).toEqual(['r:w']);
    expect(show(resolve({ write: ['w', 'w/out', 'w/out/o.txt'] }))).toEqual(['w:w']);
    expect(show(resolve({ read: ['w/src'], write: ['w/src'] }))).toEqual(['w:w/src']);
  });

  it('drop what is to be read in what can be written: nothing is mounted below that', () => {
    const scopes = resolve({ read: ['w/src'], write: ['w'] });
    expect([show(scopes), scopes.notes]).toEqual([
      ['w:w'],
      [expect.stringContaining('w/src can be written')],
    ]);
  });

  it('say nothing of what is as it was declared', () => {
    const requests = [
      { read: ['w'], write: ['w/out'] },
      { read: ['w', 'w/src'], write: ['w/src/gen', 'w/src'] },
      { cwd: join(tree.path, 'w'), read: ['w/src'], write: ['w/src'] },
    ];
    for (const request of requests) expect(resolve(request).notes).toEqual([]);
  });

  it('mount a write scope inside a read scope whose directories no job can change', () => {
    const shown = show(resolve({ read: ['w'], write: ['w/out', 'w/src/gen'] }));
    const split = ['r:w/a.txt', 'w:w/out', 'w:w/src/gen', 'r:w/src/s.txt'];
    const joined = ['w:w', 'r:w/a.txt', 'r:w/src/s.txt'];
    expect(shown).toEqual(isRoot ? joined : split);
  });

  it('split a read scope that jobs can change around the write scope', () => {
    tree.directory('w', jobUser);
    symlinkSync('a.txt', join(tree.path, 'w/link'));
    const scopes = resolve({ read: ['w'], write: ['w/out'] });
    expect(show(scopes)).toEqual(['r:w/a.txt', 'w:w/out', 'r:w/src']);
    expect(scopes.directories).toContain(join(tree.path, 'w'));
    expect(scopes.links).toEqual([{ path: join(tree.path, 'w/link'), target: 'a.txt' }]);
  });

  it('split only as deep as jobs can write', () => {
    tree.directory('w', jobUser);
    const deep = show(resolve({ read: ['w'], write: ['w/src/gen'] }));
    expect(deep).toEqual(
      isRoot
        ? ['r:w/a.txt', 'r:w/out', 'r:w/src', 'w:w/src/gen']
        : ['r:w/a.txt', 'r:w/out', 'w:w/src/gen', 'r:w/src/s.txt'],
    );
  });

  it('need no split where no running job can write: what earlier ones left lies still, however much it is', () => {
    tree.directory('w', jobUser);
    for (let index = 0; index <= maxSplitEntries; index += 1) tree.file(`w/f${index}`);
    const claims = new ScopeClaims();
    claims.claim({ reads: [join(tree.path, 'w')], writes: [join(tree.path, 'w/out')], fixed: [] });
    const scopes = resolve({ read: ['w'], write: ['w/out'], claims });
    expect(show(scopes)).toEqual(['r:w', 'w:w/out']);
    expect(scopes.fixed).toEqual([join(tree.path, 'w')]);
  });

  it('are split while a job runs that can write there', () => {
    tree.directory('w', jobUser);
    const claims = new ScopeClaims();
    const claim = claims.claim({ reads: [], writes: [join(tree.path, 'w')], fixed: [] });
    const split = resolve({ read: ['w'], write: ['w/out'], claims });
    expect([show(split), split.fixed]).toEqual([['r:w/a.txt', 'w:w/out', 'r:w/src'], []]);
    claim.release();
    expect(show(resolve({ read: ['w'], write: ['w/out'], claims }))).toEqual(['r:w', 'w:w/out']);
  });

  it('share a mount where it opens nothing else: everything beside them is mounted read-only on top', () => {
    for (const name of ['w/out', 'w/src/gen']) chmodSync(join(tree.path, name), 0o777);
    const scopes = resolve({ read: ['w'], write: ['w/out', 'w/src/gen'] });
    const joined = ['w:w', 'r:w/a.txt', 'r:w/src/s.txt'];
    const apart = ['r:w/a.txt', 'w:w/out', 'w:w/src/gen', 'r:w/src/s.txt'];
    expect(show(scopes)).toEqual(isRoot ? joined : apart);
    expect(scopes.writes).toEqual(['w/out', 'w/src/gen'].map((name) => join(tree.path, name)));
    expect(scopes.hints.length).toBe(isRoot ? 0 : 1);
  });

  const apart: readonly [why: string, changes: Request, prepare?: () => unknown][] = [
    ['the policy does not cover what holds them', { writePrefixes: ['w/out', 'w/src'] }],
    ['jobs may change what holds them', {}, () => chmodSync(join(tree.path, 'w'), 0o777)],
    ['jobs may change a directory on the way', {}, () => tree.directory('w/src', jobUser)],
    ['not all that is beside them is declared', { read: ['w/a.txt'] }],
    ['a special file beside them is the job user’s', {}, () => leaveFifo('w/fifo')],
    ['there is much beside them', {}, () => leaveMany('w/many')],
    ['one of them is still to be made', { write: ['w/out', 'w/src/gen', 'w/new'] }],
  ];
  it.each(apart)('have mounts of their own where %s', (_why, changes, prepare) => {
    prepare?.();
    const { writePrefixes, ...rest } = { writePrefixes: [''], ...changes };
    const prefixes = writePrefixes.map((name) => join(tree.path, name));
    const request = { read: ['w'], write: ['w/out', 'w/src/gen'], ...rest, writePrefixes: prefixes };
    const scopes = resolve({ ...request, claims: new ScopeClaims() });
    const writable = scopes.binds.filter((bind) => bind.writable).map(({ source }) => source);
    expect(writable).toEqual(scopes.writes);
  });

  it('have mounts of their own where csc keeps something beside them', () => {
    tree.file('w/state/journal');
    const request = toScopeRequest({ read: ['w'], write: ['w/out', 'w/src/gen'], claims: new ScopeClaims() });
    const scopes = resolveScopes(request, { ...facts, kept: [{ ...keptAt('w/state'), isSecret: true }] });
    open.push(scopes);
    const writable = scopes.binds.filter((bind) => bind.writable).map(({ source }) => source);
    expect(writable).toEqual(scopes.writes);
    expect(show(scopes).filter((it) => it.startsWith('r:w/state'))).toEqual([]);
  });

  function leaveFifo(name: string): void {
    execFileSync('mkfifo', [join(tree.path, name)]);
    chownSync(join(tree.path, name), jobUser.uid, jobUser.gid);
  }

  function leaveMany(prefix: string): void {
    for (let index = 0; index < 140; index += 1) tree.file(`${prefix}${index}`);
  }

  it('refuse to split into more mounts than are sensible', () => {
    tree.directory('w', jobUser);
    for (let index = 0; index <= maxSplitEntries; index += 1) tree.file(`w/f${index}`);
    expect(() => resolve({ read: ['w'], write: ['w/out'] })).toThrow(
      refusal('NOT_PERMITTED', join(tree.path, 'w')),
    );
  });
});

describe('a write path that does not exist', () => {
  it('is only looked at by who resolves: what it will be is held against everything', () => {
    tree.directory('w');
    const claims = new ScopeClaims();
    const scopes = resolve({ read: ['w', 'w/new'], write: ['w/new/deep'], claims });
    expect([show(scopes), scopes.missing]).toEqual([
      ['r:w'],
      [join(tree.path, 'w/new'), join(tree.path, 'w/new/deep')],
    ]);
    expect(scopes.notes).toEqual(scopes.missing.map((path) => expect.stringContaining(path)));
    expect(readdirSync(join(tree.path, 'w'))).toEqual([]);
  });

  it('is refused before it is made where it cannot be, by what is there', () => {
    tree.file('file');
    symlinkSync('nowhere', join(tree.path, 'dangling'));
    tree.directory('other', jobUser);
    chmodSync(join(tree.path, 'other'), 0o500);
    const inTheWay =
      process.getuid?.() === 0 ? ['file/new', 'dangling', 'other/new'] : ['file/new', 'dangling'];
    for (const path of inTheWay)
      expect(() => resolve({ write: [path] })).toThrow(refusal('SCOPE_NOT_FOUND', path));
    const policy = { allowed_cwd_prefixes: ['/'], allowed_read_prefixes: [], allowed_write_prefixes: ['/'] };
    for (const path of ['/proc/new', '/usr/new/deep']) {
      const request = { cwd: '/', readPaths: [], writePaths: [path], policy };
      expect(() => resolveScopes(request, facts)).toThrow(refusal('NOT_PERMITTED', path));
    }
  });

  it.each([
    ['one below the other', (index: number) => `job/${'d/'.repeat(index + 1)}`],
    ['side by side', (index: number) => `job/d${index}/`],
  ])('is refused before it is made where too many directories would have to be, %s', (_, name) => {
    tree.directory('job', jobUser);
    const most = Array.from({ length: maxMadeDirectories }, (_path, index) => name(index));
    expect(resolve({ write: most }).missing).toHaveLength(maxMadeDirectories);
    for (const attempt of [resolve, makeAndResolve])
      expect(() => attempt({ write: [...most, name(maxMadeDirectories)] })).toThrow(
        refusal('NOT_PERMITTED', 'more than'),
      );
    expect(readdirSync(join(tree.path, 'job'))).toEqual([]);
  });

  it('is made for the job user where the policy covers it', () => {
    const request = { write: ['new'] };
    const path = join(tree.path, 'new');
    expect(makeMissing(toScopeRequest(request), facts).notes).toEqual([`${path} was created`]);
    expect(show(resolve(request))).toEqual(['w:new']);
    expect(statSync(path)).toMatchObject(jobUser);
    expect(makeMissing(toScopeRequest(request), facts).notes).toEqual([]);
  });

  it('is made with the rights of the job user where jobs can write the parent', () => {
    tree.directory('job', jobUser);
    expect(show(makeAndResolve({ write: ['job/new/**'] }))).toEqual(['w:job/new']);
    expect(statSync(join(tree.path, 'job/new'))).toMatchObject(jobUser);
  });

  it('is made with the directories above it, as far as the policy covers them', () => {
    expect(show(makeAndResolve({ write: ['a/b/c'] }))).toEqual(['w:a/b/c']);
    for (const name of ['a', 'a/b', 'a/b/c']) expect(statSync(join(tree.path, name))).toMatchObject(jobUser);
    const writePrefixes = [join(tree.path, 'new/deep')];
    for (const attempt of [resolve, makeAndResolve])
      expect(() => attempt({ write: ['new/deep'], writePrefixes })).toThrow(refusal('NOT_PERMITTED', 'new'));
    expect(existsSync(join(tree.path, 'new'))).toBe(false);
  });

  it('is made where the policy covers it and nothing more', () => {
    expect(show(makeAndResolve({ write: ['new'], writePrefixes: [join(tree.path, 'new')] }))).toEqual([
      'w:new',
    ]);
  });

  it('is refused where the parent leads elsewhere', () => {
    symlinkSync('/var', join(tree.path, 'link'));
    expect(() => resolve({ write: ['link/csc-new'] })).toThrow(refusal('NOT_PERMITTED', 'csc-new'));
    expect(existsSync('/var/csc-new')).toBe(false);
  });

  it('is not made of a pattern', () => {
    expect(show(makeAndResolve({ write: ['*/new'] }))).toEqual([]);
    expect(readdirSync(tree.path)).toEqual([]);
  });

  it('is a file where the contract says so, and a directory where it says that, or nothing', () => {
    const out = (name: string): string => join(tree.path, name);
    const request = {
      ...toScopeRequest({
        write: ['a/report.json', 'result', 'out', 'b.json/', 'c.json/**', 'repo.git', 'd.json', 'e.json'],
      }),
      cwd: tree.path,
      outputs: [out('result'), out('out/x')],
      words: ['--to=d.json/part', `-o=${out('e.json')}`],
    };
    const before = resolveScopes(request, facts);
    open.push(before);
    expect(before.notes.filter((note) => note.includes('as an empty file'))).toHaveLength(3);
    const { takeBackUnwritten } = makeMissing(request, facts);
    const isFile = (name: string): boolean => statSync(out(name)).isFile();
    expect(['a/report.json', 'result', 'e.json'].map(isFile)).toEqual([true, true, true]);
    expect(['a', 'out', 'b.json', 'c.json', 'repo.git', 'd.json'].some(isFile)).toBe(false);
    expect(statSync(out('result'))).toMatchObject({ ...jobUser, size: 0 });
    const scopes = resolveScopes(request, facts);
    open.push(scopes);
    expect([show(scopes).length, scopes.notes]).toEqual([8, []]);
    writeFileSync(out('e.json'), '');
    takeBackUnwritten();
    expect(['a/report.json', 'result', 'e.json'].map((name) => existsSync(out(name)))).toEqual([
      ...[false, false, true],
    ]);
  });

  it('is not made for what is to be read', () => {
    expect(() => resolve({ read: ['new'] })).toThrow(refusal('SCOPE_NOT_FOUND', 'new'));
    expect(readdirSync(tree.path)).toEqual([]);
  });
});

describe('the cwd', () => {
  beforeEach(() => {
    for (const name of ['w/a.txt', 'w/src/s.txt']) tree.file(name);
  });
  const cwd = (): string => join(tree.path, 'w');

  it('is shown where the policy lets it be read', () => {
    const scopes = resolve({ cwd: cwd() });
    expect([show(scopes), scopes.cwd, scopes.directories]).toEqual([['r:w'], cwd(), []]);
  });

  it('is an empty directory where the policy does not', () => {
    const scopes = resolve({ cwd: cwd(), readPrefixes: [] });
    expect([show(scopes), scopes.directories]).toEqual([[], [cwd()]]);
  });

  it('holds just what was declared where that is part of it', () => {
    const scopes = resolve({ cwd: cwd(), read: ['w/src'] });
    expect([show(scopes), scopes.directories]).toEqual([['r:w/src'], [cwd()]]);
  });

  it('is not shown because what was declared of it came out empty', () => {
    symlinkSync('w', join(tree.path, 'link'));
    for (const declared of ['w/*.none', 'w/src/[xy]*', 'w/**/*.none', 'w*/none*', '*/none', 'link/*.none']) {
      const scopes = resolve({ cwd: cwd(), read: [declared] });
      expect([show(scopes), scopes.directories]).toEqual([[], [cwd()]]);
      expect(scopes.notes).toEqual([expect.stringContaining(`${declared} matches nothing`)]);
    }
    expect(show(resolve({ cwd: cwd(), write: ['w/*.none'] }))).toEqual([]);
    expect(show(resolve({ cwd: cwd(), write: ['w/new'] }))).toEqual([]);
    expect(show(resolve({ cwd: join(tree.path, 'link'), read: ['link/*.none'] }))).toEqual([]);
  });

  it('is not shown because what was declared of it leads elsewhere', () => {
    symlinkSync('../other', join(cwd(), 'link'));
    tree.file('other/o.txt');
    expect(show(resolve({ cwd: cwd(), read: ['w/link'] }))).toEqual(['r:other']);
  });

  it('is shown where what came out empty is no part of it', () => {
    for (const declared of ['*.none', 'v*', 'w', 'other/*'])
      expect(show(resolve({ cwd: cwd(), read: [declared] }))).toEqual(['r:w']);
  });

  it('is as writable as its scope', () => {
    expect(show(resolve({ cwd: join(cwd(), 'src'), write: ['w'] }))).toEqual(['w:w']);
  });

  it('does not take the place of the private directories', () => {
    expect(resolve({ cwd: '/tmp', readPrefixes: ['/'] }).binds).toEqual([]);
    expect(resolve({ cwd: '/usr/lib', readPrefixes: ['/'] }).directories).toEqual([]);
  });

  it('must be a directory, exist and be covered', () => {
    expect(() => resolve({ cwd: join(cwd(), 'a.txt') })).toThrow(refusal('SCOPE_NOT_FOUND', 'a.txt'));
    expect(() => resolve({ cwd: join(cwd(), 'none') })).toThrow(refusal('SCOPE_NOT_FOUND', 'none'));
    expect(() => resolve({ cwd: cwd(), cwdPrefixes: ['/srv'] })).toThrow(refusal('NOT_PERMITTED', cwd()));
  });
});

describe('system directories', () => {
  const policy = { allowed_cwd_prefixes: ['/'], allowed_read_prefixes: ['/'], allowed_write_prefixes: ['/'] };

  it('are shown to all, so reading them needs no mount', () => {
    const scopes = resolveScopes(
      { cwd: '/', readPaths: ['/usr/bin', '/bin/sh'], writePaths: [], policy },
      facts,
    );
    open.push(scopes);
    expect([scopes.binds, scopes.links]).toEqual([[], []]);
  });

  it('cannot be written as a whole', () => {
    const request = { cwd: '/', readPaths: [], writePaths: ['/usr'], policy };
    expect(() => resolveScopes(request, facts)).toThrow(refusal('NOT_PERMITTED', '/usr'));
  });
});

describe('descriptors', () => {
  const count = (): number => readdirSync('/proc/self/fd').length;

  it('are closed again, also after a refusal', () => {
    tree.file('a');
    const before = count();
    resolve({ read: ['a'] }).close();
    open.pop();
    expect(() => resolve({ read: ['a', 'none'] })).toThrow();
    expect(count()).toBe(before);
  });

  it('hold on to a file that is replaced by a symlink', () => {
    const file = tree.file('a', 'mine');
    const [bind] = resolve({ read: ['a'] }).binds;
    execFileSync('ln', ['-sfn', '/etc/passwd', file]);
    expect(statSync(file).ino).not.toBe(fstatSync(bind?.fd ?? -1).ino);
  });
});

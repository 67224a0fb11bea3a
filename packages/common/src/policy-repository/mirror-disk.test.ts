import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  bindings,
  keys,
  online,
  profile,
  RepositoryOfTwo,
  refusal,
} from '@csc-fleet/test-kit/repository-of-two';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { artifactBytes } from '../encoding/index.ts';
import {
  addFile,
  createDirectorySource,
  type PolicyMirror,
  type PublishedPolicy,
  type RepositorySource,
  rootBytes,
  rotateRoot,
} from './index.ts';
import { addSignature, createSnapshot, createTimestamp, toBytes } from './metadata.ts';

let repository: RepositoryOfTwo;
beforeEach(() => {
  repository = new RepositoryOfTwo();
});
afterEach(() => repository.remove());

/** The directory of the version that counts. */
function keptVersion(): string {
  const current: unknown = JSON.parse(readFileSync(join(repository.root, 'mirror', 'current.json'), 'utf8'));
  if (typeof current !== 'object' || current === null || !('directory' in current)) throw new Error('none');
  return join(repository.root, 'mirror', String(current.directory));
}

const inMirror = (name: string) => join(repository.root, 'mirror', name);

describe('what a host keeps on disk', () => {
  let damages: string[];
  const told = (source = createDirectorySource(repository.published), more: object = {}): PolicyMirror =>
    repository.mirror(source, { onDamage: (error) => void damages.push(String(error)), ...more });
  const inKept = (name: string) => join(keptVersion(), name);

  beforeEach(async () => {
    damages = [];
    repository.publish();
    repository.pin();
    await told().refresh();
  });

  it.each<[string, () => void]>([
    ['an empty current.json', () => truncateSync(inMirror('current.json'))],
    ['half a current.json', () => writeFileSync(inMirror('current.json'), '{')],
    ['a current.json of NUL bytes', () => writeFileSync(inMirror('current.json'), Buffer.alloc(200))],
    ['a version that is not there', () => rmSync(keptVersion(), { recursive: true })],
    ['half a root', () => truncateSync(inKept('metadata/root.json'), 100)],
    ['half a targets.json', () => truncateSync(inKept('metadata/targets.json'), 100)],
    ['files that were edited', () => writeFileSync(inKept('targets/bindings.yaml'), `${bindings}\n`)],
    ['a file that is gone', () => rmSync(inKept('targets/policies%2Finspect.yaml'))],
    [
      'a timestamp that was made younger',
      () => {
        const path = inKept('metadata/timestamp.json');
        writeFileSync(path, readFileSync(path, 'utf8').replace(/"signed_at": "\d+/, '"signed_at": "2999'));
      },
    ],
    ['a file more', () => writeFileSync(inKept('targets/freeze.yaml'), '')],
  ])('counts as nothing where it is damaged, and is fetched anew: %s', async (_, damage) => {
    damage();
    expect(told().load()).toBeUndefined();
    expect(damages).toHaveLength(1);
    expect((await told().refresh()).version).toBe(1);
    expect(damages).toHaveLength(2);
    expect(told().load()?.version).toBe(1);
    expect(readdirSync(join(repository.root, 'mirror'))).toHaveLength(2);
  });

  it('counts for nothing under another pinned root', async () => {
    rotateRoot(repository.owners, keys, repository.now);
    repository.publish();
    const other = rootBytes(repository.owners);
    expect(other).not.toEqual(repository.pinned);
    expect(told(undefined, { pinnedRoot: other }).load()).toBeUndefined();
    expect(damages).toEqual([]);
  });

  it('is not written again where nothing is new, but for when it was asked', async () => {
    const before = [keptVersion(), statSync(inKept('metadata/timestamp.json')).ino];
    repository.now = new Date(repository.now.getTime() + 1000);
    expect((await told().refresh()).refreshedAt).toEqual(repository.now);
    expect([keptVersion(), statSync(inKept('metadata/timestamp.json')).ino]).toEqual(before);
    expect(told().load()?.refreshedAt).toEqual(repository.now);
  });

  describe('on a disk that is full', () => {
    let disk: SmallDisk;
    let mirror: PolicyMirror;
    const publishNext = (timeout: number) => {
      addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', timeout));
      repository.publish();
    };
    const timeout = (policy: PublishedPolicy | undefined) =>
      policy?.policies.byName('inspect')?.policy.max_timeout_sec;

    beforeEach(async () => {
      disk = new SmallDisk(join(repository.root, 'disk'), 2 * 1024 * 1024);
      mirror = told(undefined, { directory: disk.path });
      await mirror.refresh();
      disk.fill();
    });
    afterEach(() => disk.unmount());

    it('does not keep from counting what the owners say, and is kept once there is room', async () => {
      mkdirSync(join(disk.path, '0dead'));
      publishNext(70);
      const heard = await mirror.refresh();
      expect(timeout(heard)).toBe(70);
      expect(heard.unkept).toMatchObject({
        code: 'FILE_UNWRITABLE',
        message: expect.stringMatching(/ENOSPC|no space|full/i),
      });
      expect(timeout(mirror.load())).toBe(60);
      // Neither what it could not write, nor what a process left behind that was killed.
      const folders = readdirSync(disk.path, { withFileTypes: true }).filter((it) => it.isDirectory());
      expect(folders).toHaveLength(1);
      disk.makeRoom();
      expect((await mirror.refresh()).unkept).toBeUndefined();
      expect(timeout(mirror.load())).toBe(70);
      expect(damages).toEqual([]);
    });

    it('does not let a source take back what was heard', async () => {
      publishNext(70);
      const old = repository.keep('old');
      publishNext(80);
      let from = createDirectorySource(repository.published);
      mirror = told({ fetch: (path) => from.fetch(path) }, { directory: disk.path });
      expect(timeout(await mirror.refresh())).toBe(80);
      from = old;
      expect(await refusal(() => mirror.refresh())).toBe('POLICY_UNSIGNED');
    });
  });

  it('is put there some files at a time', async () => {
    const files = Array.from({ length: 100 }, (_, n) => [`policies/p${n}.yaml`, profile(`p${n}`)] as const);
    const more = ['policies/inspect.yaml', profile('inspect')] as const;
    repository.publishTargets(new Map([['bindings.yaml', bindings], more, ...files]), 2);
    const handle = await open('/dev/null');
    const prototype: FileHandle = Object.getPrototypeOf(handle);
    await handle.close();
    const { sync } = prototype;
    let [now, most] = [0, 0];
    const syncs = vi.spyOn(prototype, 'sync').mockImplementation(async function (this: FileHandle) {
      now += 1;
      most = Math.max(most, now);
      await sync.call(this);
      now -= 1;
    });
    onTestFinished(() => syncs.mockRestore());
    expect((await told().refresh()).policies.all()).toHaveLength(101);
    expect(syncs.mock.calls.length).toBeGreaterThan(100);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(16);
  });

  it.each([
    ['one file', { fileMs: 1, refreshMs: 600_000 }],
    ['all of them', { fileMs: 600_000, refreshMs: 1 }],
  ])('stays where the source never answers, which is waited for only so long: %s', async (_, deadlines) => {
    const silent = { fetch: () => new Promise<undefined>(() => undefined) };
    await expect(told(silent, { deadlines }).refresh()).rejects.toMatchObject({
      code: 'REPOSITORY_UNREACHABLE',
      message: expect.stringContaining('did not come in time'),
    });
    expect(told().load()?.version).toBe(1);
  });
});

describe('what a host verifies', () => {
  const inMemory = () => join(repository.root, 'memory');
  const elsewhere = () => join(repository.root, 'elsewhere');
  const verifying = (source: RepositorySource, more: object = {}): PolicyMirror =>
    repository.mirror(source, { scratchDirectories: [inMemory(), elsewhere()], ...more });

  beforeEach(() => {
    for (const directory of [inMemory(), elsewhere()]) mkdirSync(directory);
    repository.publish();
    repository.pin();
  });

  it('lies in a directory of this user alone until it is done, whatever comes of it', async () => {
    const { fetch } = createDirectorySource(repository.published);
    const seen = new Set<number>();
    const mirror = (answer: typeof fetch): PolicyMirror =>
      verifying({
        fetch: (path) => {
          for (const name of readdirSync(inMemory())) seen.add(statSync(join(inMemory(), name)).mode & 0o777);
          return answer(path);
        },
      });
    await mirror(fetch).refresh();
    expect([...seen]).toEqual([0o700]);
    expect(readdirSync(inMemory())).toEqual([]);
    const forged = (path: string) =>
      path.endsWith('timestamp.json') ? Promise.resolve(Buffer.from('{}')) : fetch(path);
    expect(await refusal(() => mirror(forged).refresh())).toBe('POLICY_UNSIGNED');
    expect(await refusal(() => mirror(() => Promise.reject(new Error('gone'))).refresh())).toBe(
      'REPOSITORY_UNREACHABLE',
    );
    expect([...readdirSync(inMemory()), ...readdirSync(elsewhere())]).toEqual([]);
  });

  it('is nothing of what a process left behind that was killed', async () => {
    const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
    mkdirSync(join(inMemory(), `csc-run-999999999-1-${namespace}-aa`, 'metadata'), { recursive: true });
    await verifying(createDirectorySource(repository.published)).refresh();
    expect(readdirSync(inMemory())).toEqual([]);
  });

  it('lies beside what is kept where there is no memory for it, of a new host too', async () => {
    const source = createDirectorySource(repository.published);
    const places = [join(repository.root, 'no-memory'), join(repository.root, 'mirror')];
    expect((await verifying(source, { scratchDirectories: places }).refresh()).version).toBe(1);
    expect(readdirSync(places[1] ?? '').sort()).toEqual(['current.json', basename(keptVersion())].sort());
  });

  describe('where memory is full', () => {
    let disk: SmallDisk;
    beforeEach(() => {
      disk = new SmallDisk(inMemory(), 1024 * 1024);
    });
    afterEach(() => disk.unmount());

    it.each([
      'metadata/2.root.json',
      'metadata/timestamp.json',
      'metadata/1.snapshot.json',
      'metadata/1.targets.json',
      'targets/',
    ])('from %s on lies elsewhere', async (prefix) => {
      const { fetch } = createDirectorySource(repository.published);
      const filling = verifying({
        fetch: (path) => {
          if (path.startsWith(prefix)) disk.fill();
          return fetch(path);
        },
      });
      expect((await filling.refresh()).version).toBe(1);
      disk.makeRoom();
      expect([...readdirSync(inMemory()), ...readdirSync(elsewhere())]).toEqual([]);
    });

    it('and nothing else takes it, is not taken, and said to be for that', async () => {
      const source = createDirectorySource(repository.published);
      const mirror = verifying(source, { scratchDirectories: [inMemory(), join(elsewhere(), 'gone')] });
      await mirror.refresh();
      addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 70));
      repository.publish();
      disk.fill();
      await expect(mirror.refresh()).rejects.toMatchObject({
        code: 'FILE_UNWRITABLE',
        message: expect.stringMatching(
          /could not be verified, and the last good version stays.*memory: the disk is full; .*gone: its directory is not there/,
        ),
      });
      expect(mirror.load()?.version).toBe(1);
      disk.makeRoom();
      expect((await mirror.refresh()).version).toBe(2);
    });
  });
});

describe('what owners sign with other tools', () => {
  beforeEach(() => {
    repository.publish();
    repository.pin();
  });
  const usable = (): [string, Uint8Array][] => [
    ['bindings.yaml', bindings],
    ['policies/inspect.yaml', profile('inspect', 77)],
  ];

  it('is told apart by what it says where two have one version', async () => {
    const first = await repository.mirror().refresh();
    repository.publishTargets(new Map(usable()), 1);
    const second = await repository.mirror().refresh();
    expect(second.policies.byName('inspect')?.policy.max_timeout_sec).toBe(77);
    expect(second.version).toBe(first.version);
    expect(second.contentSha256).not.toBe(first.contentSha256);
  });

  const large = Buffer.alloc(artifactBytes.ownersFile);
  it.each<[string, [string, Uint8Array][]]>([
    ['too many files', Array.from({ length: 499 }, (_, n) => [`x${n}`, Buffer.of()])],
    ['a file that is too large', [['x', Buffer.alloc(large.length + 1)]]],
    ['files that are too large together', Array.from({ length: 9 }, (_, n) => [`x${n}`, large])],
  ])('is not taken where it fills a host: %s', async (_, more) => {
    repository.publishTargets(new Map([...usable(), ...more]), 2);
    await expect(repository.mirror().refresh()).rejects.toMatchObject({
      code: 'POLICY_INVALID',
      message: expect.stringContaining('more or larger files'),
    });
  });
});

describe('whoever has the online key alone', () => {
  it.each<[string, (many: Record<string, object>) => void]>([
    [
      'targets',
      (targets) => {
        const bytes = Buffer.from(JSON.stringify({ signatures: [], signed: { _type: 'targets', targets } }));
        writeFileSync(join(repository.published, 'metadata', '2.targets.json'), bytes);
        const expires = new Date(repository.now.getTime() + 86_400_000);
        const snapshot = createSnapshot(bytes, 2, 9, expires);
        addSignature(snapshot, online);
        writeFileSync(join(repository.published, 'metadata', '9.snapshot.json'), toBytes(snapshot));
        const timestamp = createTimestamp(toBytes(snapshot), 9, { version: 9, expires });
        addSignature(timestamp, online);
        writeFileSync(join(repository.published, 'metadata', 'timestamp.json'), toBytes(timestamp));
      },
    ],
    [
      'a root',
      (keys) =>
        writeFileSync(
          join(repository.published, 'metadata', '2.root.json'),
          JSON.stringify({ signatures: [], signed: { _type: 'root', keys } }),
        ),
    ],
  ])('has a host read no %s of more members than any may have, signed or not', async (_, write) => {
    repository.publish();
    repository.pin();
    write(Object.fromEntries(Array.from({ length: 501 }, (_, n) => [`x${n}`, {}])));
    await expect(repository.mirror().refresh()).rejects.toMatchObject({ code: 'POLICY_INVALID' });
  });
});

describe('a folder', () => {
  it('serves nothing that a symbolic link below it leads to', async () => {
    repository.publish();
    writeFileSync(join(repository.root, 'secret.key'), 'secret');
    symlinkSync(join(repository.root, 'secret.key'), join(repository.published, 'metadata', 'link.json'));
    symlinkSync(repository.root, join(repository.published, 'targets', 'out'));
    for (const path of ['metadata/link.json', 'targets/out/secret.key'])
      expect(await createDirectorySource(repository.published).fetch(path)).toBeUndefined();
    symlinkSync(repository.published, join(repository.root, 'link'));
    const { fetch } = createDirectorySource(join(repository.root, 'link'));
    expect(await fetch('metadata/timestamp.json')).toBeDefined();
  });
});

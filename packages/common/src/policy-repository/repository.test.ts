import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSigner, type Signer } from '../crypto/index.ts';
import { artifactBytes, sha256Hex } from '../encoding/index.ts';
import { isCscError } from '../errors/index.ts';
import {
  addFile,
  addFiles,
  createDirectorySource,
  createPolicyMirror,
  findDamage,
  initRepository,
  type PolicyMirror,
  publishedStamp,
  publishStaged,
  type RepositoryKeys,
  type RepositorySource,
  repositoryStatus,
  rootBytes,
  rotateRoot,
  signStaged,
  workspaceFiles,
} from './index.ts';
import { readKeptContent, verifyKept } from './kept.ts';
import {
  addSignature,
  createRoot,
  createSnapshot,
  createTargets,
  createTimestamp,
  toBytes,
} from './metadata.ts';

const [alice, bob, carol, online, mallory] = ['alice', 'bob', 'carol', 'online', 'mallory'].map(
  (name, index) => createSigner(Buffer.alloc(32, index + 1), name),
) as [Signer, Signer, Signer, Signer, Signer];

const two = { publicKeys: [alice.publicKey, bob.publicKey], threshold: 2 };
const keys: RepositoryKeys = { root: two, targets: two, online: online.publicKey };

const profile = (name: string, timeout = 60): Buffer =>
  Buffer.from(`policy_schema_version: csc.policy.v0.1
name: ${name}
allow_commands: [ls]
allowed_effect_types: [observe]
allowed_risk_classes: [low]
max_timeout_sec: ${timeout}
network: deny
allow_secret_refs: false
allowed_cwd_prefixes: [/workspace]
allowed_read_prefixes: [/workspace]
`);
const bindings = Buffer.from(`bindings_version: csc.bindings.v0.2
bindings:
  - identity: spiffe://csc.local/client/*
    policies: [inspect]
`);

let root: string;
let owners: string;
let now: Date;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'csc-repository-'));
  owners = join(root, 'owners');
  now = new Date();
  initRepository(owners, keys, now);
  addFile(owners, 'policies/inspect.yaml', profile('inspect'));
  addFile(owners, 'bindings.yaml', bindings);
});
afterEach(() => rmSync(root, { recursive: true }));

function publish(by: readonly Signer[] = [alice, bob]): number {
  for (const signer of by) signStaged(owners, signer, now);
  return publishStaged(owners, online, now);
}

const published = () => join(owners, 'published');

function mirrorOf(
  from: RepositorySource = createDirectorySource(published()),
  name = 'mirror',
): PolicyMirror {
  const pinnedRoot = readFileSync(join(root, 'pinned.json'));
  return createPolicyMirror({
    directory: join(root, name),
    pinnedRoot,
    source: from,
    clock: { now: () => now },
  });
}

function pin(): void {
  writeFileSync(join(root, 'pinned.json'), rootBytes(owners));
}

async function refusal(act: () => unknown): Promise<string> {
  try {
    await act();
    return 'nothing was refused';
  } catch (error) {
    if (isCscError(error)) return error.code;
    throw error;
  }
}

function keep(name: string): RepositorySource {
  const copy = join(root, name);
  cpSync(published(), copy, { recursive: true });
  return createDirectorySource(copy);
}

describe('the owners', () => {
  it('publish nothing that too few of them have signed', async () => {
    signStaged(owners, alice, now);
    expect(await refusal(() => publishStaged(owners, online, now))).toBe('POLICY_UNSIGNED');
    expect(repositoryStatus(owners).stagedRoot).toMatchObject({ signatures: 1, threshold: 2 });
    expect(publish([bob])).toBe(1);
  });

  it('are those whose keys the root names, and nobody else', async () => {
    expect(await refusal(() => signStaged(owners, mallory, now))).toBe('KEY_UNKNOWN');
    publish();
    expect(await refusal(() => publishStaged(owners, mallory, now))).toBe('KEY_UNKNOWN');
  });

  it('sign what they publish: files that have changed since are not published', async () => {
    publish();
    addFile(owners, 'policies/inspect.yaml', profile('inspect', 90));
    signStaged(owners, alice, now);
    signStaged(owners, bob, now);
    addFile(owners, 'policies/inspect.yaml', profile('inspect', 86_400));
    expect(await refusal(() => publishStaged(owners, online, now))).toBe('POLICY_UNSIGNED');
  });

  it.each([
    ['a name that a repository may not hold', 'policies/../../etc/passwd', profile('x'), 'POLICY_INVALID'],
    [
      'bindings of a profile that is not there',
      'bindings.yaml',
      Buffer.from(String(bindings).replace('inspect', 'x')),
      'POLICY_INVALID',
    ],
  ])('sign no files that cannot be used: %s', async (_, name, bytes, code) => {
    const act = () => {
      addFile(owners, name, bytes);
      signStaged(owners, alice, now);
    };
    expect(await refusal(act)).toBe(code);
  });

  it('have a threshold that their keys can reach', async () => {
    const unreachable = { ...keys, root: { publicKeys: [alice.publicKey, alice.publicKey], threshold: 2 } };
    expect(await refusal(() => initRepository(join(root, 'other'), unreachable, now))).toBe('KEY_INVALID');
  });
});

describe('a host', () => {
  it('takes what its owners published, again after a restart, and what they publish next', async () => {
    publish();
    pin();
    const mirror = mirrorOf();
    expect((await mirror.refresh()).version).toBe(1);
    const after = mirrorOf({ fetch: () => Promise.reject(new Error('gone')) }).load();
    expect(after?.policies.byName('inspect')?.policy.max_timeout_sec).toBe(60);
    addFile(owners, 'policies/inspect.yaml', profile('inspect', 90));
    publish();
    const next = await mirrorOf().refresh();
    expect([next.version, next.policies.byName('inspect')?.policy.max_timeout_sec]).toEqual([2, 90]);
    expect(readdirSync(join(root, 'mirror'))).toHaveLength(2);
  });

  it('pins the root: a repository of other owners is none', async () => {
    publish();
    pin();
    const stranger = join(root, 'stranger');
    const one = { publicKeys: [mallory.publicKey], threshold: 1 };
    initRepository(stranger, { root: one, targets: one, online: mallory.publicKey }, now);
    addFile(stranger, 'policies/inspect.yaml', profile('inspect', 86_400));
    addFile(stranger, 'bindings.yaml', bindings);
    signStaged(stranger, mallory, now);
    publishStaged(stranger, mallory, now);
    const mirror = mirrorOf(createDirectorySource(join(stranger, 'published')));
    expect(await refusal(() => mirror.refresh())).toBe('POLICY_UNSIGNED');
    expect(mirror.load()).toBeUndefined();
  });

  it('is not led by who holds the online key alone', async () => {
    publish();
    pin();
    await mirrorOf().refresh();
    const forged = keep('forged');
    const target = readdirSync(join(root, 'forged', 'targets', 'policies'))[0] ?? '';
    writeFileSync(join(root, 'forged', 'targets', 'policies', target), profile('inspect', 86_400));
    now = new Date(now.getTime() + 1000);
    publishStaged(owners, online, now);
    for (const name of ['timestamp.json', '2.snapshot.json'])
      cpSync(join(published(), 'metadata', name), join(root, 'forged', 'metadata', name));
    const mirror = mirrorOf(forged, 'fresh');
    expect(await refusal(() => mirror.refresh())).toBe('POLICY_UNSIGNED');
  });

  it('does not go back to what was published before', async () => {
    publish();
    pin();
    const old = keep('old');
    addFile(owners, 'policies/inspect.yaml', profile('inspect', 30));
    publish();
    await mirrorOf().refresh();
    expect(await refusal(() => mirrorOf(old).refresh())).toBe('POLICY_UNSIGNED');
    expect(mirrorOf().load()?.version).toBe(2);
  });

  it('takes no mixture of two versions', async () => {
    publish();
    pin();
    keep('mixed');
    addFile(owners, 'policies/inspect.yaml', profile('inspect', 30));
    publish();
    cpSync(
      join(published(), 'metadata', 'timestamp.json'),
      join(root, 'mixed', 'metadata', 'timestamp.json'),
    );
    cpSync(
      join(published(), 'metadata', '2.snapshot.json'),
      join(root, 'mixed', 'metadata', '2.snapshot.json'),
    );
    cpSync(
      join(root, 'mixed', 'metadata', '1.targets.json'),
      join(root, 'mixed', 'metadata', '2.targets.json'),
    );
    expect(await refusal(() => mirrorOf(createDirectorySource(join(root, 'mixed'))).refresh())).toBe(
      'POLICY_UNSIGNED',
    );
  });

  it('says that what it is offered has expired', async () => {
    const lifetimes = { root: 86_400_000, targets: 86_400_000, online: 1000 };
    const past = new Date(now.getTime() - 60_000);
    for (const signer of [alice, bob]) signStaged(owners, signer, past, lifetimes);
    publishStaged(owners, online, past, lifetimes);
    pin();
    expect(await refusal(() => mirrorOf().refresh())).toBe('POLICY_STALE');
  });

  it('follows a rotation that the old keys and the new ones have signed, and no other', async () => {
    publish();
    pin();
    await mirrorOf().refresh();
    const next = { publicKeys: [bob.publicKey, carol.publicKey], threshold: 2 };
    rotateRoot(owners, { root: next, targets: next, online: online.publicKey }, now);
    for (const signer of [bob, carol]) signStaged(owners, signer, now);
    expect(await refusal(() => publishStaged(owners, online, now))).toBe('POLICY_UNSIGNED');
    signStaged(owners, alice, now);
    addFile(owners, 'policies/inspect.yaml', profile('inspect', 90));
    publish([bob, carol]);
    expect((await mirrorOf().refresh()).version).toBe(2);
    addFile(owners, 'policies/inspect.yaml', profile('inspect', 120));
    expect(await refusal(() => signStaged(owners, alice, now))).toBe('KEY_UNKNOWN');
  });

  it('keeps what it has where the repository cannot be read, and leaves no half of one behind', async () => {
    publish();
    pin();
    await mirrorOf().refresh();
    const broken = mirrorOf({ fetch: () => Promise.reject(new Error('no route')) });
    expect(await refusal(() => broken.refresh())).toBe('REPOSITORY_UNREACHABLE');
    expect(broken.load()?.version).toBe(1);
    expect(readdirSync(join(root, 'mirror'))).toHaveLength(2);
    const empty = mirrorOf({ fetch: () => Promise.resolve(undefined) });
    await expect(empty.refresh()).rejects.toMatchObject({
      code: 'REPOSITORY_UNREACHABLE',
      message: expect.stringContaining('csc policy publish'),
    });
  });

  it.each([
    '../targets/bindings.yaml',
    'metadata/../../targets/bindings.yaml',
    'metadata/.hidden',
    'targets',
  ])('is served nothing but what is published: %s', async (path) => {
    publish();
    writeFileSync(join(published(), 'metadata', '.hidden'), '');
    expect(await createDirectorySource(published()).fetch(path)).toBeUndefined();
  });
});

it('says that there is no earlier version, where a host that is new has another root', async () => {
  publish();
  const other = join(root, 'other-owners');
  initRepository(other, { ...keys, online: mallory.publicKey }, now);
  for (const signer of [alice, bob]) signStaged(other, signer, now);
  addFile(other, 'bindings.yaml', bindings);
  addFile(other, 'policies/inspect.yaml', profile('inspect'));
  for (const signer of [alice, bob]) signStaged(other, signer, now);
  publishStaged(other, mallory, now);
  writeFileSync(join(root, 'pinned.json'), rootBytes(other));
  await expect(mirrorOf().refresh()).rejects.toMatchObject({
    code: 'POLICY_UNSIGNED',
    message: expect.stringMatching(/there is no earlier version here[\s\S]*is the root that is pinned here/),
  });
});

it('tells what in a published folder is not what was signed, and mends it from what the owners have', () => {
  publish();
  expect(findDamage(owners)).toEqual([]);
  const before = publishedStamp(owners);
  const folder = join(published(), 'targets', 'policies');
  const [name = ''] = readdirSync(folder);
  writeFileSync(join(folder, name), profile('inspect', 86_400));
  expect(publishedStamp(owners)).not.toBe(before);
  expect(findDamage(owners)).toEqual([`targets/policies/${name}`]);
  expect(repositoryStatus(owners).damaged).toEqual([`targets/policies/${name}`]);
  publishStaged(owners, online, now);
  expect(findDamage(owners)).toEqual([]);
  truncateSync(join(published(), 'metadata', '2.snapshot.json'), 10);
  expect(findDamage(owners)).toEqual(['metadata/2.snapshot.json']);
});

it('takes no profile into the workspace that its samples contradict, and both where they come together', () => {
  const samples = (verdict: string, code: string) =>
    Buffer.from(
      `samples_version: csc.policy-samples.v0.1
samples: [{name: look, commands: [{argv: [ls]}], decision: ${verdict}, reason_code: ${code}}]
`,
    );
  const other = Buffer.from(profile('inspect').toString().replace('[ls]', '[cat]'));
  addFile(owners, 'policies/inspect.samples.yaml', samples('allow', 'ALLOW'));
  expect(() => addFile(owners, 'policies/inspect.yaml', other)).toThrow('"look" must be');
  expect(workspaceFiles(owners).get('policies/inspect.yaml')).toEqual(profile('inspect'));
  addFiles(
    owners,
    new Map([
      ['policies/inspect.yaml', other],
      ['policies/inspect.samples.yaml', samples('deny', 'COMMAND_NOT_ALLOWED')],
    ]),
  );
  expect(workspaceFiles(owners).get('policies/inspect.yaml')).toEqual(other);
});

it('signs no profile that asks for approvals which can never be given, and says why', () => {
  const ask = (share: string) =>
    addFile(
      owners,
      'policies/inspect.yaml',
      Buffer.from(
        `${profile('inspect').toString().replace('v0.1', 'v0.2')}approvals: [{quorum: [${share}]}]\n`,
      ),
    );
  const sign = () => signStaged(owners, alice, now);
  ask('{group: release}');
  expect(sign).toThrow('there is no approvers.yaml');
  const ann = 'spiffe://csc.local/client/ann';
  const people = `approvers_version: csc.approvers.v0.1
approvers: [{identity: "${ann}", keys: [{public_key: "${Buffer.from(carol.publicKey).toString('hex')}"}]}]
groups: [{name: release, members: ["${ann}"]}, {name: glass, members: ["${ann}"]}]
break_glass: {groups: [glass]}
`;
  addFile(owners, 'approvers.yaml', Buffer.from(people));
  ask('{group: relase}');
  expect(sign).toThrow('approvals[0].quorum[0]: approvers.yaml has no group named "relase"');
  ask('{group: glass}');
  expect(sign).toThrow('"glass" is for breaking the glass');
  ask('{group: release, count: 2}');
  expect(sign).toThrow('asks 2 of "release", which has 1 who can approve');
  ask('{group: release}');
  expect(sign()).toContain('targets');
});

it('revokes a key under every id that the bindings have for it, and an issuer', async () => {
  const key = (id: string) =>
    `{key_id: ${id}, public_key: ${Buffer.from(alice.publicKey).toString('base64')}}`;
  const who = 'spiffe://csc.local/client';
  const submitters = `submitters:
  - {principal: ${who}/alice, keys: [${key('alice-1')}]}
  - {principal: ${who}/ci, keys: [${key('ci-1')}]}
`;
  addFile(owners, 'bindings.yaml', Buffer.concat([bindings, Buffer.from(submitters)]));
  const revoked = `revoked_version: csc.revoked.v0.1
revoked:
  - {kind: key, id: alice-1, since: "2026-11-27T12:00:00Z", reason: stolen}
  - {kind: issuer, id: "https://a.example", since: "2026-11-27T12:00:00Z", reason: taken over}
`;
  const issuer = (name: string) =>
    `{issuer: "https://${name}.example", kind: generic, fetch: {}, principals: [{principal: ${name}, claims: {sub: x}}]}`;
  const issuers = `issuers_version: csc.issuers.v0.1\nissuers: [${issuer('a')}, ${issuer('b')}]\n`;
  addFile(owners, 'issuers.yaml', Buffer.from(issuers));
  addFile(owners, 'revoked.yaml', Buffer.from(revoked));
  publish();
  pin();
  const { revocations, issuers: left } = await mirrorOf().refresh();
  expect([...revocations.revokedKeys().keys()]).toEqual(['alice-1', 'ci-1']);
  expect(left?.map((it) => it.issuer)).toEqual(['https://b.example']);
});

describe('how old it is', () => {
  it('goes by what is signed, whenever it is handed over', async () => {
    publish();
    pin();
    const signed = new Date(Math.floor(now.getTime() / 1000) * 1000);
    now = new Date(now.getTime() + 3_600_000);
    const heard = { refreshedAt: now, signedAt: signed, ownersSignedAt: signed };
    expect(await mirrorOf().refresh()).toMatchObject(heard);
    expect(mirrorOf().load()).toMatchObject(heard);
    const later = new Date(signed.getTime() + 600_000);
    const asked: string[] = [];
    const { fetch } = createDirectorySource(published());
    publishStaged(owners, online, later);
    const next = { fetch: (path: string) => fetch(asked.push(path) > 0 ? path : '') };
    expect(await mirrorOf(next).refresh()).toMatchObject({ signedAt: later, ownersSignedAt: signed });
    // The owners' files are what they were.
    expect(asked.filter((path) => path.startsWith('targets/'))).toEqual([]);
    expect(mirrorOf().load()).toMatchObject({ signedAt: later, ownersSignedAt: signed });
  });

  it('is not said by those who signed with an older version', async () => {
    publish();
    pin();
    publishTargets(
      new Map([
        ['bindings.yaml', bindings],
        ['policies/inspect.yaml', profile('inspect')],
      ]),
      1,
    );
    const heard = await mirrorOf().refresh();
    expect(heard).not.toHaveProperty('signedAt');
    expect(heard).not.toHaveProperty('ownersSignedAt');
    expect(heard.refreshedAt).toEqual(now);
  });

  it('is what the owners let it be: they sign again in the second half of the time that they name', () => {
    const days = (count: number) => ({
      root: 365 * 86_400_000,
      targets: count * 86_400_000,
      online: 86_400_000,
    });
    publish();
    const sign = (count: number) => signStaged(owners, alice, now, days(count));
    expect(sign(90)).toEqual([]);
    expect(sign(14)).toEqual(['targets']);
    signStaged(owners, bob, now, days(14));
    publishStaged(owners, online, now);
    expect(sign(14)).toEqual([]);
    now = new Date(now.getTime() + 8 * 86_400_000);
    expect(sign(14)).toEqual(['targets']);
  });
});

describe('what a slow source says', () => {
  it('is as old as the question, not as the answer', async () => {
    publish();
    pin();
    const asked = now;
    const { fetch } = createDirectorySource(published());
    const slow = {
      fetch: (path: string) => {
        now = new Date(now.getTime() + 60_000);
        return fetch(path);
      },
    };
    await mirrorOf(slow).refresh();
    expect(mirrorOf().load()?.refreshedAt).toEqual(asked);
  });
});

/** The directory of the version that counts. */
function keptVersion(): string {
  const current: unknown = JSON.parse(readFileSync(join(root, 'mirror', 'current.json'), 'utf8'));
  if (typeof current !== 'object' || current === null || !('directory' in current)) throw new Error('none');
  return join(root, 'mirror', String(current.directory));
}

const inMirror = (name: string) => join(root, 'mirror', name);

describe('what a host keeps on disk', () => {
  let damages: string[];
  const told = (source = createDirectorySource(published()), more: object = {}): PolicyMirror =>
    createPolicyMirror({
      directory: join(root, 'mirror'),
      pinnedRoot: readFileSync(join(root, 'pinned.json')),
      source,
      clock: { now: () => now },
      onDamage: (error) => void damages.push(String(error)),
      ...more,
    });
  const inKept = (name: string) => join(keptVersion(), name);

  beforeEach(async () => {
    damages = [];
    publish();
    pin();
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
    expect(readdirSync(join(root, 'mirror'))).toHaveLength(2);
  });

  it('counts for nothing under another pinned root', async () => {
    rotateRoot(owners, keys, now);
    publish();
    const other = rootBytes(owners);
    expect(other).not.toEqual(readFileSync(join(root, 'pinned.json')));
    expect(told(undefined, { pinnedRoot: other }).load()).toBeUndefined();
    expect(damages).toEqual([]);
  });

  it('is not written again where nothing is new, but for when it was asked', async () => {
    const before = [keptVersion(), statSync(inKept('metadata/timestamp.json')).ino];
    now = new Date(now.getTime() + 1000);
    expect((await told().refresh()).refreshedAt).toEqual(now);
    expect([keptVersion(), statSync(inKept('metadata/timestamp.json')).ino]).toEqual(before);
    expect(told().load()?.refreshedAt).toEqual(now);
  });

  it('is not blamed on the owners where the disk is full, and what was left behind is cleared away', async () => {
    mkdirSync(inMirror('0dead'));
    writeFileSync(inMirror('0dead/x'), '');
    publishStaged(owners, online, new Date(now.getTime() + 1000));
    const { fetch } = createDirectorySource(published());
    const full = {
      fetch: (path: string) => {
        // Writing there gives ENOSPC.
        for (const name of path === 'metadata/timestamp.json' ? readdirSync(join(root, 'mirror')) : []) {
          const file = join(root, 'mirror', name, 'metadata', 'timestamp.json');
          if (!keptVersion().endsWith(name) && existsSync(file)) {
            rmSync(file);
            symlinkSync('/dev/full', file);
          }
        }
        return fetch(path);
      },
    };
    await expect(told(full).refresh()).rejects.toMatchObject({
      code: 'FILE_UNWRITABLE',
      message: expect.stringContaining('ENOSPC'),
    });
    expect(readdirSync(join(root, 'mirror'))).toHaveLength(2);
    expect(told().load()?.version).toBe(1);
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

// As owners with other tools than ours may sign it.
function publishTargets(files: ReadonlyMap<string, Uint8Array>, version: number): void {
  const expires = new Date(now.getTime() + 86_400_000);
  const write = (name: string, bytes: Uint8Array) => {
    writeFileSync(join(published(), 'metadata', name), bytes);
    return bytes;
  };
  const targets = createTargets(files, { version, expires });
  for (const signer of [alice, bob]) addSignature(targets, signer);
  const targetsBytes = write(`${version}.targets.json`, toBytes(targets));
  const snapshot = createSnapshot(targetsBytes, version, 9, expires);
  addSignature(snapshot, online);
  const timestamp = createTimestamp(write('9.snapshot.json', toBytes(snapshot)), 9, { version: 9, expires });
  addSignature(timestamp, online);
  write('timestamp.json', toBytes(timestamp));
  for (const [path, bytes] of files) {
    const [name = '', folder] = path.split('/').reverse();
    writeFileSync(join(published(), 'targets', folder ?? '', `${sha256Hex(bytes)}.${name}`), bytes);
  }
}

describe('what owners sign with other tools', () => {
  beforeEach(() => {
    publish();
    pin();
  });
  const usable = (): [string, Uint8Array][] => [
    ['bindings.yaml', bindings],
    ['policies/inspect.yaml', profile('inspect', 77)],
  ];

  it('is told apart by what it says where two have one version', async () => {
    const first = await mirrorOf().refresh();
    publishTargets(new Map(usable()), 1);
    const second = await mirrorOf().refresh();
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
    publishTargets(new Map([...usable(), ...more]), 2);
    await expect(mirrorOf().refresh()).rejects.toMatchObject({
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
        writeFileSync(join(published(), 'metadata', '2.targets.json'), bytes);
        const expires = new Date(now.getTime() + 86_400_000);
        const snapshot = createSnapshot(bytes, 2, 9, expires);
        addSignature(snapshot, online);
        writeFileSync(join(published(), 'metadata', '9.snapshot.json'), toBytes(snapshot));
        const timestamp = createTimestamp(toBytes(snapshot), 9, { version: 9, expires });
        addSignature(timestamp, online);
        writeFileSync(join(published(), 'metadata', 'timestamp.json'), toBytes(timestamp));
      },
    ],
    [
      'a root',
      (keys) =>
        writeFileSync(
          join(published(), 'metadata', '2.root.json'),
          JSON.stringify({ signatures: [], signed: { _type: 'root', keys } }),
        ),
    ],
  ])('has a host read no %s of more members than any may have, signed or not', async (_, write) => {
    publish();
    pin();
    write(Object.fromEntries(Array.from({ length: 501 }, (_, n) => [`x${n}`, {}])));
    await expect(mirrorOf().refresh()).rejects.toMatchObject({ code: 'POLICY_INVALID' });
  });
});

describe('a folder', () => {
  it('serves nothing that a symbolic link below it leads to', async () => {
    publish();
    writeFileSync(join(root, 'secret.key'), 'secret');
    symlinkSync(join(root, 'secret.key'), join(published(), 'metadata', 'link.json'));
    symlinkSync(root, join(published(), 'targets', 'out'));
    for (const path of ['metadata/link.json', 'targets/out/secret.key'])
      expect(await createDirectorySource(published()).fetch(path)).toBeUndefined();
    symlinkSync(published(), join(root, 'link'));
    const { fetch } = createDirectorySource(join(root, 'link'));
    expect(await fetch('metadata/timestamp.json')).toBeDefined();
  });
});

describe('a folder that was kept', () => {
  function kept(): Map<string, Buffer> {
    const paths = readdirSync(published(), { recursive: true, encoding: 'utf8' });
    const isFile = (path: string) => statSync(join(published(), path)).isFile();
    return new Map(paths.filter(isFile).map((path) => [path, readFileSync(join(published(), path))]));
  }
  const pinned = () => readFileSync(join(root, 'pinned.json'));
  const forged = (version: number, by: readonly Signer[]): Buffer => {
    const expires = new Date(now.getTime() + 86_400_000);
    const targets = createTargets(new Map([['policies/inspect.yaml', profile('inspect', 999)]]), {
      version,
      expires,
    });
    for (const signer of by) addSignature(targets, signer);
    return toBytes(targets);
  };
  const rotate = (to: RepositoryKeys) => rotateRoot(owners, to, now);

  it('verifies from the pinned root, however long ago it expired, each version with its own files', () => {
    now = new Date('2020-01-01T00:00:00Z');
    rmSync(owners, { recursive: true });
    initRepository(owners, keys, now);
    addFile(owners, 'policies/inspect.yaml', profile('inspect'));
    addFile(owners, 'bindings.yaml', bindings);
    publish();
    pin();
    addFile(owners, 'policies/inspect.yaml', profile('inspect', 61));
    publish();
    const { faults, versions } = verifyKept(kept(), pinned());
    expect(faults).toEqual([]);
    expect(versions.map(({ version, files, missing }) => [version, files.size, missing])).toEqual([
      [1, 2, []],
      [2, 2, []],
    ]);
    const [one, other] = versions.map((it) => [...readKeptContent(it).policies]);
    expect([one?.length, other?.length, one?.[0] === other?.[0]]).toEqual([1, 1, false]);
  });

  it.each([
    ['another key', () => [mallory, bob]],
    ['too few of them', () => [alice]],
    ['one of them twice', () => [alice, alice]],
  ])('has no targets that %s signed', (_, by) => {
    publish();
    pin();
    const { faults, versions } = verifyKept(kept().set('metadata/9.targets.json', forged(9, by())), pinned());
    expect(faults.join()).toMatch(/metadata\/9\.targets\.json is not the owners’: .*1\/2 keys/);
    expect(versions.map(({ version }) => version)).toEqual([1]);
  });

  it('follows the root over rotations, and takes nothing new by keys that were rotated out', () => {
    publish();
    pin();
    const next = { publicKeys: [bob.publicKey, carol.publicKey], threshold: 2 };
    rotate({ root: next, targets: next, online: online.publicKey });
    addFile(owners, 'policies/inspect.yaml', profile('inspect', 90));
    signStaged(owners, alice, now);
    publish([bob, carol]);
    const files = kept();
    const { faults, root: last, versions } = verifyKept(files, pinned());
    expect([faults, last]).toEqual([[], 2]);
    expect(versions.map(({ version, root: by }) => [version, by])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    const late = verifyKept(new Map(files).set('metadata/3.targets.json', forged(3, [alice, bob])), pinned());
    expect(late.faults.join()).toContain(
      'metadata/3.targets.json is not the owners’: only keys have signed it that',
    );
    expect(late.versions).toHaveLength(2);
    // Whoever pins the root of now has the versions of before in the same folder, and takes none of them.
    const newer = verifyKept(files, rootBytes(owners));
    expect([newer.faults, newer.earlier, newer.versions.map(({ version }) => version)]).toEqual([
      [],
      [1],
      [2],
    ]);
    // A root that the one before has not signed leads nowhere.
    const own = { publicKeys: [mallory.publicKey], threshold: 1 };
    const taken = createRoot({
      version: 2,
      expires: now,
      root: own,
      targets: own,
      online: mallory.publicKey,
    });
    addSignature(taken, mallory);
    const stolen = new Map(files).set('metadata/2.root.json', toBytes(taken));
    stolen.set('metadata/2.targets.json', forged(2, [mallory]));
    const refused = verifyKept(stolen, pinned());
    expect(refused.faults.join()).toMatch(
      /metadata\/2\.root\.json is not .*metadata\/2\.targets\.json is not/,
    );
    expect(refused.versions.map(({ version }) => version)).toEqual([1]);
  });

  it('has no file that no targets name, and says which it lacks', () => {
    publish();
    pin();
    const bytes = profile('inspect', 999);
    const path = `targets/policies/${sha256Hex(bytes)}.inspect.yaml`;
    const files = kept().set(path, bytes);
    files.delete(`targets/${sha256Hex(bindings)}.bindings.yaml`);
    const { faults, versions } = verifyKept(files, pinned());
    expect(faults).toEqual([
      `${path} is not the owners’: no targets that the owners have signed name it as it is`,
    ]);
    expect(versions.map(readKeptContent)).toMatchObject([
      { faults: ['bindings.yaml of version 1 is not here as the owners have signed it'] },
    ]);
  });
});

import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  alice,
  bindings,
  bob,
  carol,
  keys,
  mallory,
  online,
  profile,
  RepositoryOfTwo,
  refusal,
} from '@csc-fleet/test-kit/repository-of-two';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  addFile,
  createDirectorySource,
  initRepository,
  publishStaged,
  rootBytes,
  rotateRoot,
  signStaged,
} from './index.ts';

let repository: RepositoryOfTwo;
beforeEach(() => {
  repository = new RepositoryOfTwo();
});
afterEach(() => repository.remove());

describe('a host', () => {
  it('takes what its owners published, again after a restart, and what they publish next', async () => {
    repository.publish();
    repository.pin();
    const mirror = repository.mirror();
    expect((await mirror.refresh()).version).toBe(1);
    const after = repository.mirror({ fetch: () => Promise.reject(new Error('gone')) }).load();
    expect(after?.policies.byName('inspect')?.policy.max_timeout_sec).toBe(60);
    addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 90));
    repository.publish();
    const next = await repository.mirror().refresh();
    expect([next.version, next.policies.byName('inspect')?.policy.max_timeout_sec]).toEqual([2, 90]);
    expect(readdirSync(join(repository.root, 'mirror'))).toHaveLength(2);
  });

  it('pins the root: a repository of other owners is none', async () => {
    repository.publish();
    repository.pin();
    const stranger = join(repository.root, 'stranger');
    const one = { publicKeys: [mallory.publicKey], threshold: 1 };
    initRepository(stranger, { root: one, targets: one, online: mallory.publicKey }, repository.now);
    addFile(stranger, 'policies/inspect.yaml', profile('inspect', 86_400));
    addFile(stranger, 'bindings.yaml', bindings);
    signStaged(stranger, mallory, repository.now);
    publishStaged(stranger, mallory, repository.now);
    const mirror = repository.mirror(createDirectorySource(join(stranger, 'published')));
    expect(await refusal(() => mirror.refresh())).toBe('POLICY_UNSIGNED');
    expect(mirror.load()).toBeUndefined();
  });

  it('is not led by who holds the online key alone', async () => {
    repository.publish();
    repository.pin();
    await repository.mirror().refresh();
    const forged = repository.keep('forged');
    const target = readdirSync(join(repository.root, 'forged', 'targets', 'policies'))[0] ?? '';
    writeFileSync(join(repository.root, 'forged', 'targets', 'policies', target), profile('inspect', 86_400));
    repository.now = new Date(repository.now.getTime() + 1000);
    publishStaged(repository.owners, online, repository.now);
    for (const name of ['timestamp.json', '2.snapshot.json'])
      cpSync(join(repository.published, 'metadata', name), join(repository.root, 'forged', 'metadata', name));
    const mirror = repository.mirror(forged, { directory: join(repository.root, 'fresh') });
    expect(await refusal(() => mirror.refresh())).toBe('POLICY_UNSIGNED');
  });

  it('does not go back to what was published before', async () => {
    repository.publish();
    repository.pin();
    const old = repository.keep('old');
    addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 30));
    repository.publish();
    await repository.mirror().refresh();
    expect(await refusal(() => repository.mirror(old).refresh())).toBe('POLICY_UNSIGNED');
    expect(repository.mirror().load()?.version).toBe(2);
  });

  it('takes no mixture of two versions', async () => {
    repository.publish();
    repository.pin();
    repository.keep('mixed');
    addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 30));
    repository.publish();
    cpSync(
      join(repository.published, 'metadata', 'timestamp.json'),
      join(repository.root, 'mixed', 'metadata', 'timestamp.json'),
    );
    cpSync(
      join(repository.published, 'metadata', '2.snapshot.json'),
      join(repository.root, 'mixed', 'metadata', '2.snapshot.json'),
    );
    cpSync(
      join(repository.root, 'mixed', 'metadata', '1.targets.json'),
      join(repository.root, 'mixed', 'metadata', '2.targets.json'),
    );
    expect(
      await refusal(() => repository.mirror(createDirectorySource(join(repository.root, 'mixed'))).refresh()),
    ).toBe('POLICY_UNSIGNED');
  });

  it.each([
    ['online', { online: 1000 }],
    ['targets', { targets: 1000 }],
  ])('says that what it is offered has expired: %s', async (_, short) => {
    const lifetimes = { root: 86_400_000, targets: 86_400_000, online: 86_400_000, ...short };
    const past = new Date(repository.now.getTime() - 60_000);
    for (const signer of [alice, bob]) signStaged(repository.owners, signer, past, lifetimes);
    publishStaged(repository.owners, online, past, lifetimes);
    repository.pin();
    expect(await refusal(() => repository.mirror().refresh())).toBe('POLICY_STALE');
  });

  it('follows a rotation that the old keys and the new ones have signed, and no other', async () => {
    repository.publish();
    repository.pin();
    await repository.mirror().refresh();
    const next = { publicKeys: [bob.publicKey, carol.publicKey], threshold: 2 };
    rotateRoot(repository.owners, { root: next, targets: next, online: online.publicKey }, repository.now);
    for (const signer of [bob, carol]) signStaged(repository.owners, signer, repository.now);
    expect(await refusal(() => publishStaged(repository.owners, online, repository.now))).toBe(
      'POLICY_UNSIGNED',
    );
    signStaged(repository.owners, alice, repository.now);
    addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 90));
    repository.publish([bob, carol]);
    expect((await repository.mirror().refresh()).version).toBe(2);
    addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 120));
    expect(await refusal(() => signStaged(repository.owners, alice, repository.now))).toBe('KEY_UNKNOWN');
  });

  it('keeps what it has where the repository cannot be read, and leaves no half of one behind', async () => {
    repository.publish();
    repository.pin();
    await repository.mirror().refresh();
    const broken = repository.mirror({ fetch: () => Promise.reject(new Error('no route')) });
    expect(await refusal(() => broken.refresh())).toBe('REPOSITORY_UNREACHABLE');
    expect(broken.load()?.version).toBe(1);
    expect(readdirSync(join(repository.root, 'mirror'))).toHaveLength(2);
    const empty = repository.mirror({ fetch: () => Promise.resolve(undefined) });
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
    repository.publish();
    writeFileSync(join(repository.published, 'metadata', '.hidden'), '');
    expect(await createDirectorySource(repository.published).fetch(path)).toBeUndefined();
  });
});

it('says that there is no earlier version, where a host that is new has another root', async () => {
  repository.publish();
  const other = join(repository.root, 'other-owners');
  initRepository(other, { ...keys, online: mallory.publicKey }, repository.now);
  for (const signer of [alice, bob]) signStaged(other, signer, repository.now);
  addFile(other, 'bindings.yaml', bindings);
  addFile(other, 'policies/inspect.yaml', profile('inspect'));
  for (const signer of [alice, bob]) signStaged(other, signer, repository.now);
  publishStaged(other, mallory, repository.now);
  writeFileSync(join(repository.root, 'pinned.json'), rootBytes(other));
  await expect(repository.mirror().refresh()).rejects.toMatchObject({
    code: 'POLICY_UNSIGNED',
    message: expect.stringMatching(/there is no earlier version here[\s\S]*is the root that is pinned here/),
  });
});

describe('how old it is', () => {
  it('goes by what is signed, whenever it is handed over', async () => {
    repository.publish();
    repository.pin();
    const signed = new Date(Math.floor(repository.now.getTime() / 1000) * 1000);
    repository.now = new Date(repository.now.getTime() + 3_600_000);
    const heard = { refreshedAt: repository.now, signedAt: signed, ownersSignedAt: signed };
    expect(await repository.mirror().refresh()).toMatchObject(heard);
    expect(repository.mirror().load()).toMatchObject(heard);
    const later = new Date(signed.getTime() + 600_000);
    const asked: string[] = [];
    const { fetch } = createDirectorySource(repository.published);
    publishStaged(repository.owners, online, later);
    const next = { fetch: (path: string) => fetch(asked.push(path) > 0 ? path : '') };
    expect(await repository.mirror(next).refresh()).toMatchObject({
      signedAt: later,
      ownersSignedAt: signed,
    });
    // The owners' files are what they were.
    expect(asked.filter((path) => path.startsWith('targets/'))).toEqual([]);
    expect(repository.mirror().load()).toMatchObject({ signedAt: later, ownersSignedAt: signed });
  });

  it('is not said by those who signed with an older version', async () => {
    repository.publish();
    repository.pin();
    repository.publishTargets(
      new Map([
        ['bindings.yaml', bindings],
        ['policies/inspect.yaml', profile('inspect')],
      ]),
      1,
    );
    const heard = await repository.mirror().refresh();
    expect(heard).not.toHaveProperty('signedAt');
    expect(heard).not.toHaveProperty('ownersSignedAt');
    expect(heard.refreshedAt).toEqual(repository.now);
  });

  it('is what the owners let it be: they sign again in the second half of the time that they name', () => {
    const days = (count: number) => ({
      root: 365 * 86_400_000,
      targets: count * 86_400_000,
      online: 86_400_000,
    });
    repository.publish();
    const sign = (count: number) => signStaged(repository.owners, alice, repository.now, days(count));
    expect(sign(90)).toEqual([]);
    expect(sign(14)).toEqual(['targets']);
    signStaged(repository.owners, bob, repository.now, days(14));
    publishStaged(repository.owners, online, repository.now);
    expect(sign(14)).toEqual([]);
    repository.now = new Date(repository.now.getTime() + 8 * 86_400_000);
    expect(sign(14)).toEqual(['targets']);
  });
});

describe('what a slow source says', () => {
  it('is as old as the question, not as the answer', async () => {
    repository.publish();
    repository.pin();
    const asked = repository.now;
    const { fetch } = createDirectorySource(repository.published);
    const slow = {
      fetch: (path: string) => {
        repository.now = new Date(repository.now.getTime() + 60_000);
        return fetch(path);
      },
    };
    await repository.mirror(slow).refresh();
    expect(repository.mirror().load()?.refreshedAt).toEqual(asked);
  });
});

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  alice,
  bindings,
  bob,
  carol,
  mallory,
  online,
  profile,
  RepositoryOfTwo,
} from '@csc-fleet/test-kit/repository-of-two';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Signer } from '../crypto/index.ts';
import { sha256Hex } from '../encoding/index.ts';
import { addFile, type RepositoryKeys, rootBytes, rotateRoot, signStaged } from './index.ts';
import { readKeptContent, verifyKept } from './kept.ts';
import { addSignature, createRoot, createTargets, toBytes } from './metadata.ts';

let repository: RepositoryOfTwo;
beforeEach(() => {
  repository = new RepositoryOfTwo();
});
afterEach(() => repository.remove());

describe('a folder that was kept', () => {
  function kept(): Map<string, Buffer> {
    const paths = readdirSync(repository.published, { recursive: true, encoding: 'utf8' });
    const isFile = (path: string) => statSync(join(repository.published, path)).isFile();
    return new Map(
      paths.filter(isFile).map((path) => [path, readFileSync(join(repository.published, path))]),
    );
  }
  const forged = (version: number, by: readonly Signer[]): Buffer => {
    const expires = new Date(repository.now.getTime() + 86_400_000);
    const targets = createTargets(new Map([['policies/inspect.yaml', profile('inspect', 999)]]), {
      version,
      expires,
    });
    for (const signer of by) addSignature(targets, signer);
    return toBytes(targets);
  };
  const rotate = (to: RepositoryKeys) => rotateRoot(repository.owners, to, repository.now);

  it('verifies from the pinned root, however long ago it expired, each version with its own files', () => {
    repository.now = new Date('2020-01-01T00:00:00Z');
    repository.init();
    repository.publish();
    repository.pin();
    addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 61));
    repository.publish();
    const { faults, versions } = verifyKept(kept(), repository.pinned);
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
    repository.publish();
    repository.pin();
    const { faults, versions } = verifyKept(
      kept().set('metadata/9.targets.json', forged(9, by())),
      repository.pinned,
    );
    expect(faults.join()).toMatch(/metadata\/9\.targets\.json is not the owners’: .*1\/2 keys/);
    expect(versions.map(({ version }) => version)).toEqual([1]);
  });

  it('follows the root over rotations, and takes nothing new by keys that were rotated out', () => {
    repository.publish();
    repository.pin();
    const next = { publicKeys: [bob.publicKey, carol.publicKey], threshold: 2 };
    rotate({ root: next, targets: next, online: online.publicKey });
    addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 90));
    signStaged(repository.owners, alice, repository.now);
    repository.publish([bob, carol]);
    const files = kept();
    const { faults, root: last, versions } = verifyKept(files, repository.pinned);
    expect([faults, last]).toEqual([[], 2]);
    expect(versions.map(({ version, root: by }) => [version, by])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    const late = verifyKept(
      new Map(files).set('metadata/3.targets.json', forged(3, [alice, bob])),
      repository.pinned,
    );
    expect(late.faults.join()).toContain(
      'metadata/3.targets.json is not the owners’: only keys have signed it that',
    );
    expect(late.versions).toHaveLength(2);
    // Whoever pins the root of now has the versions of before in the same folder, and takes none of them.
    const newer = verifyKept(files, rootBytes(repository.owners));
    expect([newer.faults, newer.earlier, newer.versions.map(({ version }) => version)]).toEqual([
      [],
      [1],
      [2],
    ]);
    // A root that the one before has not signed leads nowhere.
    const own = { publicKeys: [mallory.publicKey], threshold: 1 };
    const taken = createRoot({
      version: 2,
      expires: repository.now,
      root: own,
      targets: own,
      online: mallory.publicKey,
    });
    addSignature(taken, mallory);
    const stolen = new Map(files).set('metadata/2.root.json', toBytes(taken));
    stolen.set('metadata/2.targets.json', forged(2, [mallory]));
    const refused = verifyKept(stolen, repository.pinned);
    expect(refused.faults.join()).toMatch(
      /metadata\/2\.root\.json is not .*metadata\/2\.targets\.json is not/,
    );
    expect(refused.versions.map(({ version }) => version)).toEqual([1]);
  });

  it('has no file that no targets name, and says which it lacks', () => {
    repository.publish();
    repository.pin();
    const bytes = profile('inspect', 999);
    const path = `targets/policies/${sha256Hex(bytes)}.inspect.yaml`;
    const files = kept().set(path, bytes);
    files.delete(`targets/${sha256Hex(bindings)}.bindings.yaml`);
    const { faults, versions } = verifyKept(files, repository.pinned);
    expect(faults).toEqual([
      `${path} is not the owners’: no targets that the owners have signed name it as it is`,
    ]);
    expect(versions.map(readKeptContent)).toMatchObject([
      { faults: ['bindings.yaml of version 1 is not here as the owners have signed it'] },
    ]);
  });
});

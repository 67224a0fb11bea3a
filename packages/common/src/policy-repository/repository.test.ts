import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
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
  addFiles,
  findDamage,
  initRepository,
  publishedStamp,
  publishStaged,
  repositoryStatus,
  signStaged,
  workspaceFiles,
} from './index.ts';

let repository: RepositoryOfTwo;
beforeEach(() => {
  repository = new RepositoryOfTwo();
});
afterEach(() => repository.remove());

describe('the owners', () => {
  it('publish nothing that too few of them have signed', async () => {
    signStaged(repository.owners, alice, repository.now);
    expect(await refusal(() => publishStaged(repository.owners, online, repository.now))).toBe(
      'POLICY_UNSIGNED',
    );
    expect(repositoryStatus(repository.owners).stagedRoot).toMatchObject({ signatures: 1, threshold: 2 });
    expect(repository.publish([bob])).toBe(1);
  });

  it('are told which file of what they have published is damaged, and what to do', async () => {
    repository.publish();
    for (const name of ['timestamp.json', '1.targets.json', '1.root.json']) {
      const path = join(repository.owners, 'published/metadata', name);
      const whole = readFileSync(path);
      for (const damaged of [`${whole}junk`, '{}', '']) {
        writeFileSync(path, damaged);
        expect(() => repositoryStatus(repository.owners)).toThrow(
          expect.objectContaining({
            code: 'POLICY_INVALID',
            message: expect.stringMatching(`${path} is damaged .*: put it back`),
          }),
        );
      }
      writeFileSync(path, whole);
    }
    expect(repositoryStatus(repository.owners)).toBeDefined();
  });

  it('are those whose keys the root names, and nobody else', async () => {
    expect(await refusal(() => signStaged(repository.owners, mallory, repository.now))).toBe('KEY_UNKNOWN');
    repository.publish();
    expect(await refusal(() => publishStaged(repository.owners, mallory, repository.now))).toBe(
      'KEY_UNKNOWN',
    );
  });

  it('sign what they publish: files that have changed since are not published', async () => {
    repository.publish();
    addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 90));
    signStaged(repository.owners, alice, repository.now);
    signStaged(repository.owners, bob, repository.now);
    addFile(repository.owners, 'policies/inspect.yaml', profile('inspect', 86_400));
    expect(await refusal(() => publishStaged(repository.owners, online, repository.now))).toBe(
      'POLICY_UNSIGNED',
    );
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
      addFile(repository.owners, name, bytes);
      signStaged(repository.owners, alice, repository.now);
    };
    expect(await refusal(act)).toBe(code);
  });

  it('have a threshold that their keys can reach', async () => {
    const unreachable = { ...keys, root: { publicKeys: [alice.publicKey, alice.publicKey], threshold: 2 } };
    expect(
      await refusal(() => initRepository(join(repository.root, 'other'), unreachable, repository.now)),
    ).toBe('KEY_INVALID');
  });
});

it('tells what in a published folder is not what was signed, and mends it from what the owners have', () => {
  repository.publish();
  expect(findDamage(repository.owners)).toEqual([]);
  const before = publishedStamp(repository.owners);
  const folder = join(repository.published, 'targets', 'policies');
  const [name = ''] = readdirSync(folder);
  writeFileSync(join(folder, name), profile('inspect', 86_400));
  expect(publishedStamp(repository.owners)).not.toBe(before);
  expect(findDamage(repository.owners)).toEqual([`targets/policies/${name}`]);
  expect(repositoryStatus(repository.owners).damaged).toEqual([`targets/policies/${name}`]);
  publishStaged(repository.owners, online, repository.now);
  expect(findDamage(repository.owners)).toEqual([]);
  truncateSync(join(repository.published, 'metadata', '2.snapshot.json'), 10);
  expect(findDamage(repository.owners)).toEqual(['metadata/2.snapshot.json']);
});

it('takes no profile into the workspace that its samples contradict, and both where they come together', () => {
  const samples = (verdict: string, code: string) =>
    Buffer.from(
      `samples_version: csc.policy-samples.v0.1
samples: [{name: look, commands: [{argv: [ls]}], decision: ${verdict}, reason_code: ${code}}]
`,
    );
  const other = Buffer.from(profile('inspect').toString().replace('[ls]', '[cat]'));
  addFile(repository.owners, 'policies/inspect.samples.yaml', samples('allow', 'ALLOW'));
  expect(() => addFile(repository.owners, 'policies/inspect.yaml', other)).toThrow('"look" must be');
  expect(workspaceFiles(repository.owners).get('policies/inspect.yaml')).toEqual(profile('inspect'));
  addFiles(
    repository.owners,
    new Map([
      ['policies/inspect.yaml', other],
      ['policies/inspect.samples.yaml', samples('deny', 'COMMAND_NOT_ALLOWED')],
    ]),
  );
  expect(workspaceFiles(repository.owners).get('policies/inspect.yaml')).toEqual(other);
});

it('signs no profile that asks for approvals which can never be given, and says why', () => {
  const ask = (share: string) =>
    addFile(
      repository.owners,
      'policies/inspect.yaml',
      Buffer.from(
        `${profile('inspect').toString().replace('v0.1', 'v0.2')}approvals: [{quorum: [${share}]}]\n`,
      ),
    );
  const sign = () => signStaged(repository.owners, alice, repository.now);
  ask('{group: release}');
  expect(sign).toThrow('there is no approvers.yaml');
  const ann = 'spiffe://csc.local/client/ann';
  const people = `approvers_version: csc.approvers.v0.1
approvers: [{identity: "${ann}", keys: [{public_key: "${Buffer.from(carol.publicKey).toString('hex')}"}]}]
groups: [{name: release, members: ["${ann}"]}, {name: glass, members: ["${ann}"]}]
break_glass: {groups: [glass]}
`;
  addFile(repository.owners, 'approvers.yaml', Buffer.from(people));
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
  addFile(repository.owners, 'bindings.yaml', Buffer.concat([bindings, Buffer.from(submitters)]));
  const revoked = `revoked_version: csc.revoked.v0.1
revoked:
  - {kind: key, id: alice-1, since: "2026-11-27T12:00:00Z", reason: stolen}
  - {kind: issuer, id: "https://a.example", since: "2026-11-27T12:00:00Z", reason: taken over}
`;
  const issuer = (name: string) =>
    `{issuer: "https://${name}.example", kind: generic, fetch: {}, principals: [{principal: ${name}, claims: {sub: x}}]}`;
  const issuers = `issuers_version: csc.issuers.v0.1\nissuers: [${issuer('a')}, ${issuer('b')}]\n`;
  addFile(repository.owners, 'issuers.yaml', Buffer.from(issuers));
  addFile(repository.owners, 'revoked.yaml', Buffer.from(revoked));
  repository.publish();
  repository.pin();
  const { revocations, issuers: left } = await repository.mirror().refresh();
  expect([...revocations.revokedKeys().keys()]).toEqual(['alice-1', 'ci-1']);
  expect(left?.map((it) => it.issuer)).toEqual(['https://b.example']);
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPolicySet } from '@csc-fleet/common/policy';
import { createDirectorySource, publishStaged } from '@csc-fleet/common/policy-repository';
import { silentLog } from '@csc-fleet/common/service';
import { policyMembers } from '@csc-fleet/test-kit/policy';
import { frozen, TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { expect, it } from 'vitest';
import { checkFresh } from '../admission/owners.ts';
import { createRepositoryOwners } from './owners.ts';

it('word from the future is none, but for a minute', () => {
  const check = (ms: number) =>
    checkFresh({ policies: createPolicySet([]), refreshedAt: new Date(1e12 + ms) }, new Date(1e12), {
      maxStalenessMs: 1000,
    });
  expect(() => check(60_000)).not.toThrow();
  expect(() => check(60_001)).toThrow('which is still to come');
});

it('those who listen are told of other content under the same version', async () => {
  const root = mkdtempSync(join(tmpdir(), 'csc-owners-'));
  try {
    const now = new Date();
    const [a, b] = ['a', 'b'].map((name) => new TestRepository(join(root, name), { now: () => now }));
    if (a === undefined || b === undefined) throw new Error('none');
    const files = {
      'policies/build.yaml': policyMembers('/workspace', { name: 'build', allow_commands: ['ls'] }),
      'bindings.yaml': {
        bindings_version: 'csc.bindings.v0.2',
        bindings: [{ identity: 'spiffe://csc.local/client/*', policies: ['build'] }],
      },
    };
    a.publish(files);
    b.publish({ ...files, 'freeze.yaml': frozen });
    publishStaged(b.directory, b.online, new Date(now.getTime() + 1000));
    writeFileSync(join(root, 'root.json'), a.root);
    let from = a;
    const owners = createRepositoryOwners({
      config: { root: join(root, 'root.json'), from: 'gate', maxStalenessSec: 60, refreshSec: 60 },
      directory: join(root, 'mirror'),
      gate: { fetch: (path) => createDirectorySource(join(from.directory, 'published')).fetch(path) },
      log: silentLog,
    });
    const heard: (number | undefined)[] = [];
    owners.onChange(({ version, freeze }) => void heard.push(freeze === undefined ? version : -1));
    await owners.refresh();
    expect(owners.hearing?.()).toBeUndefined();
    from = b;
    owners.hearNews();
    await owners.hearing?.();
    expect(owners.hearing?.()).toBeUndefined();
    expect(owners.current().freeze).toBeDefined();
    owners.close();
    expect(heard).toEqual([1, -1]);
  } finally {
    rmSync(root, { recursive: true });
  }
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { createPolicySet } from '@csc-fleet/common/policy';
import {
  createDirectorySource,
  publishStaged,
  type RepositorySource,
} from '@csc-fleet/common/policy-repository';
import { silentLog } from '@csc-fleet/common/service';
import { policyMembers } from '@csc-fleet/test-kit/policy';
import { frozen, TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkFresh } from '../admission/owners.ts';
import { createRepositoryOwners, type HostOwners, loadKnownWord } from './owners.ts';

it('word from the future is none, but for a minute', () => {
  const check = (ms: number) =>
    checkFresh({ policies: createPolicySet([]), refreshedAt: new Date(1e12 + ms) }, new Date(1e12), {
      maxStalenessMs: 1000,
    });
  expect(() => check(60_000)).not.toThrow();
  expect(() => check(60_001)).toThrow('which is still to come');
});

describe('a host whose owners publish a repository', () => {
  const bound = {
    'policies/build.yaml': policyMembers('/workspace', { name: 'build', allow_commands: ['ls'] }),
    'bindings.yaml': {
      bindings_version: 'csc.bindings.v0.2',
      bindings: [{ identity: 'spiffe://csc.local/client/*', policies: ['build'] }],
    },
  };
  const now = new Date();
  let root: string;
  let owners: HostOwners | undefined;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'csc-owners-'));
  });
  afterEach(() => {
    owners?.close();
    rmSync(root, { recursive: true });
  });

  function publishing(name: string, files: Parameters<TestRepository['publish']>[0] = bound): TestRepository {
    const repository = new TestRepository(join(root, name), { now: () => now });
    repository.publish(files);
    return repository;
  }

  // Once a day: nothing but what a test does has it asked for.
  const config = () =>
    ({ root: join(root, 'root.json'), from: 'gate', maxStalenessSec: 60, refreshSec: 86_400 }) as const;

  function open({ root: pinned }: TestRepository, fetch: RepositorySource['fetch']): HostOwners {
    writeFileSync(join(root, 'root.json'), pinned);
    owners = createRepositoryOwners({
      config: config(),
      directory: join(root, 'mirror'),
      gate: { fetch },
      log: silentLog,
    });
    return owners;
  }

  const published = (from: TestRepository) => createDirectorySource(join(from.directory, 'published')).fetch;

  it('tells those who listen of other content under the same version', async () => {
    const [a, b] = [publishing('a'), publishing('b', { ...bound, 'freeze.yaml': frozen })];
    publishStaged(b.directory, b.online, new Date(now.getTime() + 1000));
    let from = a;
    const host = open(a, (path) => published(from)(path));
    const heard: (number | undefined)[] = [];
    host.onChange(({ version, freeze }) => void heard.push(freeze === undefined ? version : -1));
    await host.refresh();
    expect(host.hearing?.()).toBeUndefined();
    from = b;
    host.hearNews();
    await host.hearing?.();
    expect(host.hearing?.()).toBeUndefined();
    expect(host.current().freeze).toBeDefined();
    expect(heard).toEqual([1, -1]);
  });

  // Nobody tells it twice, and a gate that comes back says only what it says to whoever connects.
  it.each<[string, number, () => undefined]>([
    [
      'whose gate is gone before it has answered',
      1,
      () => {
        throw new CscError('GATE_UNREACHABLE', 'read ECONNRESET');
      },
    ],
    // The next root, and what every repository has.
    ['whose gate has not got it yet', 2, () => undefined],
  ])('hears what was revoked, %s, without being told of it once more', async (_what, times, fault) => {
    const repository = publishing('a');
    let faults = 0;
    const host = open(repository, async (path) => (faults > 0 ? failing() : published(repository)(path)));
    const failing = () => {
      faults -= 1;
      return fault();
    };
    await host.refresh();
    repository.publish({ 'freeze.yaml': frozen });
    faults = times;
    host.hearNews();
    await host.hearing?.();
    expect(host.current().freeze).toBeUndefined();
    await expect.poll(() => host.current().freeze, { timeout: 10_000 }).toBeDefined();
  });

  it.runIf(process.getuid?.() === 0)(
    'hears it while its disk is full, and keeps it once there is room',
    async () => {
      const repository = publishing('a');
      const disk = new SmallDisk(join(root, 'mirror'), 4 * 1024 * 1024);
      try {
        const host = open(repository, published(repository));
        const heard: boolean[] = [];
        host.onChange(({ freeze }) => void heard.push(freeze !== undefined));
        await host.refresh();
        repository.publish({ 'freeze.yaml': frozen });
        disk.fill();
        host.hearNews();
        await host.hearing?.();
        expect(host.current().freeze).toBeDefined();
        expect(heard).toEqual([false, true]);
        const kept = () => loadKnownWord(config(), join(root, 'mirror'))?.freeze;
        expect(kept()).toBeUndefined();
        disk.makeRoom();
        await expect.poll(kept, { timeout: 10_000 }).toBeDefined();
        expect(heard).toEqual([false, true]);
      } finally {
        disk.unmount();
      }
    },
  );
});

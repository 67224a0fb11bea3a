import { chmodSync } from 'node:fs';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { examinePool, examineRoots } from './examine-pool.ts';
import type { JobUsers } from './run-as.ts';

const gid = process.getgid?.() ?? -1;
const a = { uid: 3001, gid, name: 'a', group: 'jobs' };
const users: JobUsers = { all: [a, { uid: 3002, gid, group: 'jobs' }], pooled: true };
const accounts = (members: readonly string[], shell = '/usr/sbin/nologin') => ({
  users: [{ ...a, gid: 99 }],
  groups: [{ name: 'jobs', gid, members }],
  shells: new Map([['a', shell]]),
});

describe('examinePool', () => {
  let tree: TestTree;
  beforeEach(() => {
    tree = makeTree();
  });
  afterEach(() => tree.remove());

  it('has nothing to say of one user for all', () => {
    expect(examinePool({ ...users, pooled: false }, ['/w'], accounts([]))).toEqual([]);
  });

  it('wants every account in the group', () => {
    expect(examinePool(users, [], accounts([]))[0]).toMatchObject({
      ok: false,
      remedy: 'usermod -aG jobs a',
    });
    expect(examinePool(users, [], accounts(['a']))[0]).toMatchObject({ ok: true });
  });

  it('advises against login shells', () => {
    const [, shells] = examinePool(users, [], accounts(['a'], '/bin/bash'));
    expect(shells).toMatchObject({ ok: true, remedy: expect.stringContaining('nologin a') });
    expect(examinePool(users, [], accounts(['a']))[1]).not.toHaveProperty('remedy');
  });

  it('says which directories the group cannot write, or would not hand on', () => {
    const check = (mode: number) => {
      chmodSync(tree.path, mode);
      return examinePool(users, ['/', tree.path], accounts(['a'])).slice(2);
    };
    const remedy = expect.stringContaining(`chmod g+rwxs ${tree.path}`);
    expect(check(0o2755)).toMatchObject([{ ok: true, remedy }]);
    expect(check(0o775)).toMatchObject([{ ok: true, remedy }]);
    expect(check(0o2770)[0]).not.toHaveProperty('remedy');
  });

  it('says what the one user of all jobs may not enter, write or find', () => {
    const other = { ...users, all: [{ uid: 3001, gid, name: 'a' }], pooled: false } satisfies JobUsers;
    const check = (mode: number) => {
      chmodSync(tree.path, mode);
      return examineRoots(other, [tree.path]);
    };
    expect(check(0o700)).toMatchObject([{ ok: false, remedy: `chmod o+x ${tree.path}` }]);
    // Something can run elsewhere.
    expect(examineRoots(other, ['/', tree.path])).toMatchObject([
      { ok: true, remedy: `chmod o+x ${tree.path}` },
    ]);
    expect(check(0o755)).toMatchObject([
      { ok: true, remedy: expect.stringContaining(`chown a ${tree.path}`) },
    ]);
    expect(check(0o757)[0]).not.toHaveProperty('remedy');
    const none = `${tree.path}/none`;
    expect(examineRoots(other, [none])).toMatchObject([{ ok: false, remedy: `mkdir ${none}` }]);
    expect(examineRoots(users, [none])).toMatchObject([{ ok: false, remedy: `mkdir ${none}` }]);
    expect(examinePool(users, [none], accounts(['a'])).slice(2)).toEqual([]);
  });
});

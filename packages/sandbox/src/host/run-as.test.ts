import { describe, expect, it } from 'vitest';
import { type Group, type JobUser, type RunAs, resolveJobUsers } from './run-as.ts';

const root = { uid: 0, gid: 0, name: 'root' };
const builder = { uid: 990, gid: 990, name: 'builder' };
const jobs = { uid: 991, gid: 991, name: 'csc-job' };
const none: readonly Group[] = [];
const resolveJobUser = (runAs: RunAs | undefined, own: JobUser, users: readonly JobUser[], groups = none) =>
  resolveJobUsers(runAs, own, { users, groups }).all[0];
const refused = expect.objectContaining({ code: 'SANDBOX_UNAVAILABLE' });

describe('one user for all runs', () => {
  it('takes csc-job for a root executor, else nobody', () => {
    expect(resolveJobUser(undefined, root, [root, jobs])).toEqual(jobs);
    expect(resolveJobUser({ auto: true }, root, [root, jobs])).toEqual(jobs);
    expect(resolveJobUser(undefined, root, [root])).toEqual({ uid: 65534, gid: 65534, name: 'nobody' });
  });

  it('takes whom the config names', () => {
    expect(resolveJobUser('builder', root, [root, builder, jobs])).toEqual(builder);
    expect(resolveJobUser({ uid: 5000, gid: 5001 }, root, [root])).toEqual({ uid: 5000, gid: 5001 });
  });

  it('never takes root, by name, by number or by group', () => {
    expect(() => resolveJobUser('root', root, [root])).toThrow(refused);
    expect(() => resolveJobUser({ uid: 0, gid: 5 }, root, [root])).toThrow(refused);
    expect(() => resolveJobUser({ uid: 5, gid: 0 }, root, [root])).toThrow(refused);
    expect(() => resolveJobUser(undefined, root, [{ ...jobs, uid: 0 }])).toThrow(refused);
  });

  it('refuses an account that is not there', () => {
    expect(() => resolveJobUser('nosuch', root, [root])).toThrow(refused);
  });

  it('runs jobs as the executor itself where that is not root', () => {
    expect(resolveJobUser(undefined, builder, [jobs])).toEqual(builder);
    expect(resolveJobUser('builder', builder, [builder])).toEqual(builder);
    const process = { uid: 990, gid: 990 };
    expect(resolveJobUser(undefined, process, [jobs, builder])).toEqual(builder);
    expect(resolveJobUser(undefined, process, [jobs])).toEqual(process);
    expect(() => resolveJobUser('csc-job', builder, [jobs])).toThrow(refused);
  });
});

describe('a pool of users', () => {
  const group = { name: 'csc-jobs', gid: 3000, members: ['a'] };
  const a = { uid: 3001, gid: 999, name: 'a' };
  const resolve = (pool: (string | number)[], users: readonly JobUser[] = [root, a], own = root) =>
    resolveJobUsers({ pool, group: 'csc-jobs' }, own, { users, groups: [group] });

  it('takes names and ids, and gives all of them the one group', () => {
    expect(resolve(['a', 3002])).toEqual({
      pooled: true,
      all: [
        { uid: 3001, gid: 3000, name: 'a', group: 'csc-jobs' },
        { uid: 3002, gid: 3000, group: 'csc-jobs' },
      ],
    });
    const unnamed = resolveJobUsers({ pool: [3002], group: 3009 }, root, { users: [], groups: [] });
    expect(unnamed.all).toEqual([{ uid: 3002, gid: 3009 }]);
  });

  it.each([
    ['root', ['root', 'a']],
    ['one twice', ['a', 3001]],
    ['an account that is not there', ['b']],
  ])('never takes %s', (_, pool) => {
    expect(() => resolve(pool)).toThrow(refused);
  });

  it("never takes a group that is not there, or root's", () => {
    const accounts = { users: [a], groups: [{ name: 'root', gid: 0, members: [] }] };
    for (const name of ['csc-jobs', 'root', 0])
      expect(() => resolveJobUsers({ pool: ['a'], group: name }, root, accounts)).toThrow(refused);
  });

  it('is nothing that an executor without privileges could do', () => {
    expect(() => resolve(['a'], [a], a)).toThrow(refused);
  });
});

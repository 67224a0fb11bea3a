import { describe, expect, it } from 'vitest';
import { resolveJobUser } from './job-user.ts';

const root = { uid: 0, gid: 0, name: 'root' };
const builder = { uid: 990, gid: 990, name: 'builder' };
const jobs = { uid: 991, gid: 991, name: 'csc-job' };
const refused = expect.objectContaining({ code: 'SANDBOX_UNAVAILABLE' });

describe('resolveJobUser', () => {
  it('takes csc-job for a root executor, else nobody', () => {
    expect(resolveJobUser(undefined, root, [root, jobs])).toEqual(jobs);
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
    expect(() => resolveJobUser('csc-job', builder, [jobs])).toThrow(refused);
  });
});

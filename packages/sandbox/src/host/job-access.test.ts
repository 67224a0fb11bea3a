import { chmodSync, statSync } from 'node:fs';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findClosedParent, mayExecute, mayWrite } from './job-access.ts';
import type { JobUser, JobUsers } from './run-as.ts';

const self = { uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
const stranger = { uid: 54321, gid: 54321 };
const jobs = (...all: [JobUser, ...JobUser[]]): JobUsers => ({ all, pooled: all.length > 1 });

describe('job access', () => {
  let tree: TestTree;
  beforeEach(() => {
    tree = makeTree();
  });
  afterEach(() => tree.remove());
  const at = (mode: number) => {
    chmodSync(tree.path, mode);
    return statSync(tree.path);
  };

  it('takes owners, groups and others for writers', () => {
    expect(mayWrite(at(0o755), jobs(self))).toBe(true);
    expect(mayWrite(at(0o755), jobs(stranger))).toBe(false);
    // Another run of the pool, at the same time.
    expect(mayWrite(at(0o755), jobs(stranger, self))).toBe(true);
    expect(mayWrite(at(0o775), jobs(stranger))).toBe(true);
    expect(mayWrite(at(0o1777), jobs(stranger))).toBe(true);
  });

  it('is sure only of a no', () => {
    expect(mayExecute(at(0o755), stranger)).toBe(true);
    expect(mayExecute(at(0o744), stranger)).toBe(false);
    expect(mayExecute(at(0o655), self)).toBe(false);
    expect(mayExecute(at(0o710), stranger)).toBe(true);
  });

  it('names the directory that is closed', () => {
    const file = tree.file('a/b/c');
    expect(findClosedParent(file, stranger)).toBeUndefined();
    chmodSync(`${tree.path}/a`, 0o700);
    expect(findClosedParent(file, stranger)).toBe(`${tree.path}/a`);
    expect(findClosedParent(file, self)).toBeUndefined();
  });
});

import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { makeCommand, makeFacts, makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findExecutable } from './find-executable.ts';
import { planSandbox } from './plan.ts';
import { resolveScopes } from './resolve-scopes.ts';
import type { ResolvedScopes } from './scopes.ts';

const facts = makeFacts({ jobUser: { uid: 54321, gid: 54321 } });
let tree: TestTree;
let scopes: ResolvedScopes;

beforeEach(() => {
  tree = makeTree();
  tree.file('bin/tool', '#!/bin/sh\n', 0o755);
  tree.file('bin/data', 'x', 0o644);
  tree.file('hidden/tool', '#!/bin/sh\n', 0o755);
  symlinkSync('tool', join(tree.path, 'bin/alias'));
  symlinkSync('../hidden/tool', join(tree.path, 'bin/outside'));
  symlinkSync('/usr/bin/env', join(tree.path, 'bin/system'));
  const policy = {
    allowed_cwd_prefixes: [tree.path],
    allowed_read_prefixes: [tree.path],
    allowed_write_prefixes: [],
  };
  const request = {
    cwd: join(tree.path, 'bin'),
    readPaths: [join(tree.path, 'bin')],
    writePaths: [],
    policy,
  };
  scopes = resolveScopes(request, facts);
});
afterEach(() => {
  scopes.close();
  tree.remove();
});

// 0: may be run.
function find(program: string, environment: Record<string, string> = {}): number {
  return findExecutable(program, planSandbox(facts, scopes, makeCommand({ environment })), scopes, facts)
    .code;
}

describe('findExecutable', () => {
  it('finds what is in PATH and in the scopes', () => {
    expect(find('env')).toBe(0);
    expect(find('/usr/bin/env')).toBe(0);
    expect(find('/bin/env')).toBe(0);
    expect(find(join(tree.path, 'bin/tool'))).toBe(0);
    expect(find('./tool')).toBe(0);
    expect(find('tool', { PATH: join(tree.path, 'bin') })).toBe(0);
  });

  it('follows symlinks as the sandbox has them', () => {
    expect(find('./alias')).toBe(0);
    expect(find('./system')).toBe(0);
    expect(find('./outside')).toBe(127);
    expect(find('../bin/tool')).toBe(0);
  });

  it('says what a program really is', () => {
    const plan = planSandbox(facts, scopes, makeCommand());
    const path = (program: string) => findExecutable(program, plan, scopes, facts);
    expect(path('./system')).toEqual({ code: 0, path: '/usr/bin/env' });
    expect(path('/bin/env')).toEqual({ code: 0, path: '/usr/bin/env' });
    expect(path('./alias')).toEqual({ code: 0, path: join(tree.path, 'bin/tool') });
  });

  it('does not find what only the host has', () => {
    expect(find(join(tree.path, 'hidden/tool'))).toBe(127);
    expect(find('tool')).toBe(127);
    expect(find('nosuch')).toBe(127);
    expect(find('/etc/shadow')).toBe(127);
    expect(find('/proc/self/exe')).toBe(127);
  });

  it('does not take what cannot be run for a program', () => {
    expect(find('./data')).toBe(126);
    expect(find('/usr')).toBe(126);
    expect(find(tree.path)).toBe(127);
  });
});

import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCommand, makeFacts, makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findTooLong } from './explain-start.ts';
import { findExecutable } from './find-executable.ts';
import { planSandbox } from './plan.ts';
import { resolveScopes } from './resolve-scopes.ts';
import type { ResolvedScopes } from './scopes.ts';

const facts = makeFacts({
  jobUser: { uid: 54321, gid: 54321 },
  systemLinks: ['bin', 'lib', 'lib64'].map((name) => ({ path: `/${name}`, target: `usr/${name}` })),
});
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

  it('looks into what is mounted last, however deep the rest is', () => {
    const plan = planSandbox(facts, scopes, makeCommand());
    const empty = { kind: 'tmpfs', destination: tree.path, mode: 0o755, bytes: 4096 } as const;
    const codeWith = (mounts: typeof plan.mounts) =>
      findExecutable('./tool', { ...plan, mounts }, scopes, facts).code;
    expect(codeWith([empty, ...plan.mounts])).toBe(0);
    expect(codeWith([...plan.mounts, empty])).toBe(127);
    expect(codeWith([...plan.mounts, { kind: 'read_only', destination: tree.path }])).toBe(0);
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

  it('says what a script or a program needs that the sandbox has not', () => {
    const plan = planSandbox(facts, scopes, makeCommand());
    const says = (name: string, content: string) => {
      tree.file(`bin/${name}`, content, 0o755);
      const found = findExecutable(`./${name}`, plan, scopes, facts);
      return found.code === 0 ? 'fine' : `${found.code} ${found.message}`;
    };
    expect(says('dos', '#!/bin/sh\r\necho hi\r\n')).toMatch(/^127 .*\/bin\/sh with a carriage return.*CRLF/);
    expect(says('gone', '#!/opt/none/bin/ruby -w\n')).toMatch(/^127 .*\/opt\/none\/bin\/ruby/);
    expect(says('spaced', '#!  /usr/bin/env  python3\n')).toBe('fine');
    expect(says('beside', '#!./tool\n')).toBe('fine');
    expect(says('text', 'echo hi\n')).toBe('fine');
    const elf = readFileSync('/usr/bin/env');
    writeFileSync(
      join(tree.path, 'bin/musl'),
      Buffer.from(
        elf.toString('latin1').replace('/lib64/ld-', '/libXX/ld-').replace('/lib/ld-', '/liX/ld-'),
        'latin1',
      ),
      { mode: 0o755 },
    );
    expect(findExecutable('./musl', plan, scopes, facts)).toMatchObject({
      code: 127,
      message: expect.stringMatching(/dynamic linker \/li/),
    });
  });

  it('tells nothing of what the job user may not read', () => {
    tree.file('bin/closed', '#!/opt/secret/path\n', 0o711);
    expect(find('./closed')).toBe(0);
  });

  it('says where it has looked', () => {
    const plan = planSandbox(facts, scopes, makeCommand());
    const says = (program: string) => findExecutable(program, plan, scopes, facts);
    expect(says('nosuch')).toMatchObject({
      message: expect.stringContaining('/usr/local/bin:/usr/bin:/bin'),
    });
    expect(says('./nosuch')).toMatchObject({ message: expect.stringContaining(`${tree.path}/bin/./nosuch`) });
    expect(says('./data')).toMatchObject({ message: expect.stringContaining('mode 0644') });
  });
});

describe('findTooLong', () => {
  it('judges one argument, and all with the environment', () => {
    const one = (bytes: number) =>
      findTooLong(['echo', 'ä'.repeat(1) + 'x'.repeat(bytes - 2)], {})?.message ?? 'fine';
    expect([one(131_071), one(131_072)]).toEqual(['fine', expect.stringContaining('131072')]);
    const many = (count: number) =>
      findTooLong(['echo', ...Array(count).fill('x'.repeat(100_000))], { A: 'x'.repeat(90_000) });
    expect([many(19), many(20)?.code]).toEqual([undefined, 126]);
  });
});

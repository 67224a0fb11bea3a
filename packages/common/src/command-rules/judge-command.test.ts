import { describe, expect, it } from 'vitest';
import { type CommandRules, judgeCommand } from './judge-command.ts';

const files: Readonly<Record<string, string>> = {
  sh: '/usr/bin/dash',
  bash: '/usr/bin/bash',
  awk: '/usr/bin/mawk',
  python3: '/usr/bin/python3.11',
  python: '/usr/bin/python3.11',
  node: '/usr/bin/nodejs',
  cc: '/usr/bin/x86_64-linux-gnu-gcc-12',
  ls: '/usr/bin/busybox',
  busybox: '/usr/bin/busybox',
  cargo: '/root/.cargo/bin/rustup',
  '/workspace/tool': '/usr/bin/bash',
  '/workspace/run': '/usr/bin/env',
  '/workspace/snake': '/usr/bin/python3.11',
  '/workspace/build.sh': '/workspace/build.sh',
  '/workspace/.venv/bin/python': '/usr/bin/python3.11',
  './tool': '/usr/bin/bash',
};

function paths(argv: string[], allowCommands: string[], more: Partial<CommandRules> = {}): string[] {
  const rules = { allowCommands, inlineCode: false, resolve: (name: string) => files[name], ...more };
  return judgeCommand(argv, rules).map(({ path }) => path);
}

describe('inline code', () => {
  it('is refused even where the policy names the interpreter', () => {
    expect(paths(['bash', '-lc', 'id'], ['bash'])).toEqual(['[1]']);
    expect(paths(['timeout', '5', 'python3', '-c', 'x'], ['timeout', 'python3'])).toEqual(['[3]']);
  });

  it('is let in where the owner says so', () => {
    expect(paths(['bash', '-lc', 'id'], ['bash'], { inlineCode: true })).toEqual([]);
  });

  it('comes from a pipe too', () => {
    expect(paths(['bash'], ['bash'], { piped: true })).toEqual(['[0]']);
    expect(paths(['bash'], ['bash'])).toEqual([]);
  });

  it('is seen behind another name', () => {
    expect(paths(['/workspace/snake', '-c', 'x'], ['/workspace/snake', 'python3'])).toEqual(['[1]']);
    expect(paths(['/workspace/run', '-S', 'sh -c id'], ['/workspace/run', 'env', 'sh'])).toEqual(['[1]']);
  });
});

describe('a wrapper', () => {
  it('runs only what the policy names', () => {
    expect(paths(['env', 'A=1', 'make'], ['env'])).toEqual(['[2]']);
    expect(paths(['env', 'A=1', 'make'], ['env', 'make'])).toEqual([]);
    expect(paths(['env', 'nice', 'timeout', '5', 'make'], ['env'])).toEqual(['[1]', '[2]', '[4]']);
    expect(paths(['env', '/usr/bin/make'], ['env', 'make'])).toEqual(['[1]']);
  });

  it('runs only what the policy names where the owner lets inline code in', () => {
    expect(paths(['env', 'rm', 'x'], ['env'], { inlineCode: true })).toEqual(['[1]']);
  });

  it('starts no shell of its own unless the policy names it', () => {
    expect(paths(['unshare', '-r'], ['unshare'])).toEqual(['[0]']);
    expect(paths(['unshare', '-r'], ['unshare', 'sh'])).toEqual([]);
  });

  it.each([
    [['timeout', '--new-option', 'make', 'sh']],
    [['nice', '-z', 'make']],
    [['env', '--new-option', 'make']],
    [['xargs', '--new-option', 'make']],
    [['xargs', 'env']],
    [['xargs', '-I{}', '{}', 'x']],
    [['xargs', 'timeout']],
    [['find', '.', '-files0-from', 'x', '-exec', '{}', ';']],
  ])('is refused where it cannot be told what it runs: %j', (argv) => {
    const allow = ['timeout', 'nice', 'env', 'xargs', 'find', 'make', 'sh', '{}'];
    expect(paths(argv, allow, { inlineCode: true })).not.toEqual([]);
  });

  it('is refused where it wraps without end', () => {
    const argv = [...Array.from({ length: 150 }, () => 'env'), 'make'];
    expect(paths(argv, ['env', 'make'], { inlineCode: true })).toEqual(['[33]']);
  });
});

describe('a name that stands for something else', () => {
  it('must not be an interpreter or a wrapper that the policy does not name', () => {
    expect(paths(['/workspace/tool', 'x.sh'], ['/workspace/tool'])).toEqual(['[0]']);
    expect(paths(['/workspace/run'], ['/workspace/run', 'bash'])).toEqual(['[0]']);
    expect(paths(['env', './tool', 'x.sh'], ['env', './tool'])).toEqual(['[1]']);
  });

  it.each([
    [
      ['/workspace/tool', 'x.sh'],
      ['/workspace/tool', 'sh'],
    ],
    [
      ['/workspace/tool', 'x.sh'],
      ['/workspace/tool', '/bin/bash'],
    ],
    [['sh', 'x.sh'], ['sh']],
    [['awk', '{print}'], ['awk']],
    [['python3', 'x.py'], ['python3']],
    [['python', 'x.py'], ['python']],
    [['/workspace/.venv/bin/python', 'x.py'], ['/workspace/.venv/bin/python']],
    [['node', 'x.js'], ['node']],
    [['cc', '-c', 'x.c'], ['cc']],
    [['/workspace/build.sh', '-c'], ['/workspace/build.sh']],
    [['cargo', 'build'], ['cargo']],
    [['unknown', '-c'], ['unknown']],
  ])('may be one of the family that the policy names: %j', (argv, allow) => {
    expect(paths(argv, allow)).toEqual([]);
  });

  it('leaves a multi-call binary to its applet', () => {
    expect(paths(['ls'], ['ls'])).toEqual([]);
    expect(paths(['busybox', 'ls'], ['busybox'])).toEqual(['[1]']);
  });
});

it('says what to do', () => {
  const rules = { allowCommands: ['env'], inlineCode: false };
  const said = judgeCommand(['env', 'sh', '-c', 'token=hunter2'], rules)
    .map(({ message }) => message)
    .join('\n');
  expect(said).toContain('ceiling.inline_code');
  expect(said).toContain('name "sh" in allow_commands');
  expect(said).not.toContain('hunter2');
});

import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expandGlob, isGlob, matchesName, maxGlobMatches, stripTree, toTokens } from './glob.ts';

describe('matchesName', () => {
  const cases: readonly [pattern: string, name: string, matches: boolean][] = [
    ['*.json', 'a.json', true],
    ['*.json', '.json', false],
    ['*.json', 'a.jsonc', false],
    ['.*', '.git', true],
    ['?', 'a', true],
    ['?', '.', false],
    ['[.a]x', '.x', false],
    ['a?c', 'abc', true],
    ['[a-c]x', 'bx', true],
    ['[a-c]x', '-x', false],
    ['[!a-c]x', 'bx', false],
    ['[!a-c]x', 'dx', true],
    ['[z-a]', 'm', false],
    ['[', '[', true],
    ['a*b*c', 'a--b--b-c', true],
    ['a*b*c', 'a--b--b-', false],
    ['*', 'ü☃', true],
    ['a.c', 'abc', false],
    ['(x|y)', 'x', false],
  ];
  it.each(cases)('%s and %s: %s', (pattern, name, matches) => {
    expect(matchesName(name, toTokens(pattern))).toBe(matches);
  });

  it('takes no exponential time', () => {
    expect(matchesName('a'.repeat(250), toTokens(`${'*a'.repeat(60)}b`))).toBe(false);
  });
});

describe('expandGlob', () => {
  let tree: TestTree;
  beforeEach(() => {
    tree = makeTree();
    for (const name of ['a.json', 'b.json', 'c.txt', '.hidden.json', 'src/x.json', 'src/deep/y.json'])
      tree.file(name);
    symlinkSync('/etc', join(tree.path, 'link'));
  });
  afterEach(() => tree.remove());
  const expand = (pattern: string): string[] =>
    expandGlob(join(tree.path, pattern)).map((path) => path.slice(tree.path.length + 1));

  it('matches in one directory only', () => {
    expect(expand('*.json')).toEqual(['a.json', 'b.json']);
  });

  it('goes through directories, but not through symlinks to them', () => {
    expect(expand('*/*.json')).toEqual(['src/x.json']);
    expect(expand('**/*.json')).toEqual(['a.json', 'b.json', 'src/deep/y.json', 'src/x.json']);
    expect(expand('link/*')).toContain('link/passwd');
    expect(expand('l*/*')).toEqual([]);
  });

  it('matches nothing where there is nothing', () => {
    expect(expand('none/*.json')).toEqual([]);
    expect(expand('a.json/*')).toEqual([]);
  });

  it('refuses a pattern that stands for too much', () => {
    for (let index = 0; index <= maxGlobMatches; index += 1) mkdirSync(join(tree.path, `d${index}`));
    expect(() => expand('d*')).toThrow(expect.objectContaining({ code: 'NOT_PERMITTED' }));
  });
});

describe('isGlob and stripTree', () => {
  it('takes X/** for the tree X', () => {
    expect(stripTree('/workspace/src/**')).toBe('/workspace/src');
    expect(stripTree('/**')).toBe('/');
    expect(isGlob(stripTree('/workspace/src/**'))).toBe(false);
    expect(isGlob('/workspace/*.json')).toBe(true);
    expect(isGlob('/workspace/a?')).toBe(true);
    expect(isGlob('/workspace/[ab]')).toBe(true);
    expect(isGlob('/workspace/{a,b}')).toBe(false);
  });
});

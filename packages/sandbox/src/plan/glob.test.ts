import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodePath } from '../host/index.ts';
import { expandDeclared, expandPattern, maxGlobMatches, readDeclared, stripTree } from './glob.ts';
import { matchesName, toTokens } from './match-name.ts';

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

describe('expandDeclared', () => {
  let tree: TestTree;
  beforeEach(() => {
    tree = makeTree();
    for (const name of ['a.json', 'b.json', 'c.txt', '.hidden.json', 'src/x.json', 'src/deep/y.json'])
      tree.file(name);
    symlinkSync('/etc', join(tree.path, 'link'));
  });
  afterEach(() => tree.remove());
  const expand = (pattern: string): string[] =>
    expandDeclared(join(tree.path, pattern)).map((path) => path.slice(tree.path.length + 1));

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

  it('takes a directory that is there by the exact name of a part with sets for that part', () => {
    for (const name of ['app/[id]/page.tsx', 'app/i/other.tsx', 'app/*/star.tsx']) tree.file(name);
    expect(expand('app/[id]/*.tsx')).toEqual(['app/[id]/page.tsx']);
    expect(expand('app/[ij]/*.tsx')).toEqual(['app/i/other.tsx']);
    expect(expand(String.raw`app/\*/*.tsx`)).toEqual(['app/*/star.tsx']);
    expect(expand('app/*/o*.tsx')).toEqual(['app/i/other.tsx']);
  });

  it('finds names that are not UTF-8, each byte that is none a character', () => {
    const name = Buffer.concat([Buffer.from(`${tree.path}/caf`), Buffer.from([0xe9]), Buffer.from('.latin')]);
    writeFileSync(name, '');
    const found = expandDeclared(join(tree.path, 'caf?.latin'));
    expect(found.map((path) => Buffer.from(encodePath(path)))).toEqual([name]);
    expect(expand('*.latin')).toEqual(expand('caf[!a-z].latin'));
  });

  it('is not held up by how much there is that does not match', () => {
    for (let index = 0; index <= 2 * maxGlobMatches; index += 1) tree.file(`many/f${index}`);
    tree.file('many/x.json');
    expect(expand('many/*.json')).toEqual(['many/x.json']);
  });

  it('ends at the search limit, and says so', () => {
    const reading = readDeclared(join(tree.path, '**/*.none'));
    if (reading.kind !== 'pattern') throw new Error('it is one');
    const budget = { left: 100 };
    expect(expandPattern(reading, budget)).toEqual([]);
    budget.left = 5;
    const searchLimit = expect.objectContaining({
      code: 'NOT_PERMITTED',
      message: expect.stringMatching(/^search limit/),
    });
    expect(() => expandPattern(reading, budget)).toThrow(searchLimit);
  });

  it('refuses a pattern that stands for too much', () => {
    for (let index = 0; index <= maxGlobMatches; index += 1) mkdirSync(join(tree.path, `d${index}`));
    expect(() => expand('d*')).toThrow(expect.objectContaining({ code: 'NOT_PERMITTED' }));
  });
});

describe('readDeclared', () => {
  const nothing = () => undefined;
  const read = (declared: string) => readDeclared(declared, nothing);

  it('takes X/** and X/ for the directory X', () => {
    expect(stripTree('/workspace/src/**')).toBe('/workspace/src');
    expect(stripTree('/**')).toBe('/');
    const directory = { kind: 'path', path: '/workspace/src', isDirectory: true };
    for (const ending of ['/', '/**', '/./', '/**/**'])
      expect(read(`/workspace/src${ending}`)).toEqual(directory);
    expect(read('/workspace//src')).toEqual({ ...directory, isDirectory: false });
  });

  it.each(['/w/*.json', '/w/a?', '/w/[ab]', '/w/[!a]', '/w/**/x', '/w/x*/**', '/w/\\\\[ab]'])(
    'takes %s for a pattern',
    (declared) => {
      expect(read(declared)).toMatchObject({ kind: 'pattern', pattern: declared });
    },
  );

  it.each([
    ['/w/{a,b}', '/w/{a,b}'],
    ['/w/a[b', '/w/a[b'],
    [String.raw`/w/app/\[id\]/new`, '/w/app/[id]/new'],
    ['/w/app/[[]id]/new', '/w/app/[id]/new'],
    [String.raw`/w/\*\?/**`, '/w/*?'],
    ['/w/a\\b', '/w/a\\b'],
  ])('takes %s for the path %s, there or not', (declared, path) => {
    expect(read(declared)).toMatchObject({ kind: 'path', path });
  });

  it('takes what is there by exactly its name for that', () => {
    const there = () => ({});
    for (const path of ['/w/[id]/x', '/w/*', '/w/what?', String.raw`/w/\[id\]`])
      expect(readDeclared(path, there)).toMatchObject({ kind: 'path', path });
  });
});

import { describe, expect, it } from 'vitest';
import { coversPattern, identityPattern, matchesPattern } from './identity-pattern.ts';

const base = 'spiffe://csc.local/client/';

describe('identityPattern', () => {
  it.each([`${base}ci-1`, `${base}*`, `${base}ci-*-*.x_y`])('accepts %s', (text) => {
    expect(identityPattern.safeParse(text).success).toBe(true);
  });

  it.each([
    '*',
    'spiffe://*/client/a',
    'spiffe://csc.local/*/a',
    'spiffe://csc.local/executor/a',
    'spiffe://csc.local/client/',
    'spiffe://csc.local/client/a/b',
    'spiffe://CSC.local/client/a',
    'https://csc.local/client/a',
    `${base}a\n`,
  ])('refuses %j', (text) => {
    expect(identityPattern.safeParse(text).success).toBe(false);
  });
});

describe('matchesPattern', () => {
  it.each([
    ['ci-1', 'ci-1', true],
    ['ci-1', 'ci-10', false],
    ['*', 'anything', true],
    ['ci-*', 'ci-', true],
    ['ci-*', 'ci-1', true],
    ['ci-*', 'xci-1', false],
    ['*-ci', 'a-ci', true],
    ['a*b*c', 'a-b-c', true],
    ['a*b*c', 'abc', true],
    ['a*b*c', 'acb', false],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['*aab', 'aaab', true],
    ['**', 'x', true],
    ['a.c', 'abc', false],
  ])('%s and %s: %s', (pattern, name, matches) => {
    expect(matchesPattern(base + pattern, base + name)).toBe(matches);
  });

  it.each([
    'spiffe://other.local/client/a',
    'spiffe://csc.local/executor/a',
    'spiffe://csc.local/client/a/b',
  ])('does not reach from * to %s', (identity) => {
    expect(matchesPattern(`${base}*`, identity)).toBe(false);
  });
});

describe('coversPattern', () => {
  it.each([
    ['*', 'ci-*', true],
    ['ci-*', 'ci-a*', true],
    ['ci-*', 'ci-*', true],
    ['ci-*', '*', false],
    ['ci-a*', 'ci-*', false],
    ['ci-1', 'ci-*', false],
  ])('%s and %s: %s', (outer, inner, covers) => {
    expect(coversPattern(base + outer, base + inner)).toBe(covers);
  });
});

import { describe, expect, it } from 'vitest';
import { allowed, shown } from './finding.ts';

describe('shown', () => {
  it.each(['rm', '/workspace/ü 漢字', 'C:\\work'])('leaves %j as it is', (text) => {
    expect(shown(text)).toBe(text);
  });

  it.each([
    ['\u001b[2Jrm', '\\u{1b}[2Jrm'],
    ['a\nb', 'a\\u{a}b'],
    ['\u202egpj', '\\u{202e}gpj'],
    ['\u{e0041}', '\\u{e0041}'],
    ['', ''],
  ])('escapes what would change what a terminal shows: %j', (text, safe) => {
    expect(shown(text)).toBe(safe);
  });

  it('cuts what is long, between characters', () => {
    expect(shown('😀'.repeat(1000))).toBe(`${'😀'.repeat(160)}…`);
  });
});

describe('allowed', () => {
  it('names eight, and counts the rest', () => {
    const names = Array.from({ length: 10 }, (_, index) => `p${index}`);
    expect(allowed(names)).toBe('; the policy allows p0, p1, p2, p3, p4, p5, p6, p7, and 2 more');
    expect(allowed([])).toBe('; the policy allows none');
  });
});

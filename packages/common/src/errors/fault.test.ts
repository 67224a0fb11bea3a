import { describe, expect, it } from 'vitest';
import { faulty, formatFaults, memberPath, parsed, quoteBriefly } from './fault.ts';

describe('memberPath', () => {
  it.each([
    [[], ''],
    [['a'], 'a'],
    [['commands', 0, 'exec', 'argv', 3], 'commands[0].exec.argv[3]'],
    [[2, 'a'], '[2].a'],
    [['a b', 'c'], '["a b"].c'],
    [['a', ''], 'a[""]'],
    [['a', '0'], 'a["0"]'],
    [['read-paths'], 'read-paths'],
  ])('joins %j', (segments, path) => {
    expect(memberPath(segments)).toBe(path);
  });

  it('does not echo a long key', () => {
    expect(memberPath(['k'.repeat(10_000)]).length).toBeLessThan(80);
  });
});

describe('quoteBriefly', () => {
  it('leaves nothing for a terminal to obey', () => {
    expect(quoteBriefly('\u001b[2J\u009b2J\u202e')).toBe('"\\u001b[2J\\u009b2J\\u202e"');
  });

  it('takes lone surrogates, also where the cut makes one', () => {
    expect(quoteBriefly('\ud800').isWellFormed()).toBe(true);
    expect(quoteBriefly(`${'x'.repeat(63)}\u{1f600}y`).isWellFormed()).toBe(true);
  });
});

describe('formatFaults', () => {
  it('gives a line a fault, without a path for the document itself', () => {
    const faults = [
      { path: 'a[0]', message: 'must be absolute' },
      { path: '', message: 'is too long' },
    ];
    expect(formatFaults(faults)).toBe('  a[0]: must be absolute\n  is too long');
  });
});

describe('Parsed', () => {
  it('holds the value or the faults', () => {
    expect(parsed(1)).toEqual({ ok: true, value: 1 });
    expect(faulty('is bad', 'a')).toEqual({ ok: false, faults: [{ path: 'a', message: 'is bad' }] });
  });
});

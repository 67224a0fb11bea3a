import { InvalidArgumentError } from 'commander';
import { describe, expect, it } from 'vitest';
import { parseDuration } from '../action/options.ts';
import { formatDuration, formatElapsed } from './text.ts';

describe('durations', () => {
  it.each([
    ['1500ms', 1500],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['45', 45_000],
    ['0', 0],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', 's', '-1s', '1d', '1 s', 'soon', '1e3'])('%j is none', (text) => {
    expect(() => parseDuration(text)).toThrow(InvalidArgumentError);
  });

  it.each([
    [0, '0.0 s'],
    [9_940, '9.9 s'],
    [12_400, '12 s'],
    [59_600, '1 min 00 s'],
    [185_000, '3 min 05 s'],
    [7_620_000, '2 h 07 min'],
  ])('%i ms are shown as %s', (ms, text) => {
    expect(formatElapsed(ms)).toBe(text);
  });

  it.each([
    [0.4, '0 ms'],
    [34.2, '34 ms'],
    [999.6, '1.0 s'],
    [12_400, '12 s'],
  ])('%f ms of what is over are shown as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

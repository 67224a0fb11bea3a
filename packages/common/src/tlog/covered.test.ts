import { describe, expect, it } from 'vitest';
import { CoveredTimes } from './covered.ts';

const now = new Date('2026-01-10T00:00:00Z');
const newest = (...ended: readonly (readonly [string, string])[]): string | undefined => {
  const times = new CoveredTimes(now);
  for (const [executor, endedAt] of ended) times.add(executor, endedAt);
  return times.newest === undefined ? undefined : new Date(times.newest).toISOString().slice(0, 10);
};

describe('the time of what a log covers', () => {
  it('is that of the newest, and of nothing none', () => {
    expect(newest(['a', '2026-01-02T00:00:00Z'], ['a', '2026-01-01T00:00:00Z'])).toBe('2026-01-02');
    expect(newest()).toBeUndefined();
  });

  it('is not what one host says against others, however many receipts it signs', () => {
    const honest = [
      ['b', '2026-01-02T00:00:00Z'],
      ['c', '2026-01-03T00:00:00Z'],
    ] as const;
    expect(newest(['a', '2026-01-09T00:00:00Z'], ['a', '2026-01-08T00:00:00Z'], ...honest)).toBe(
      '2026-01-03',
    );
    expect(newest(['a', '1970-01-01T00:00:00Z'], ...honest)).toBe('2026-01-02');
    expect(newest(['a', '2026-01-09T00:00:00Z'], ['b', '2026-01-02T00:00:00Z'])).toBe('2026-01-02');
  });

  it('is no time that is yet to come, nor none at all', () => {
    expect(newest(['a', '2026-01-02T00:00:00Z'], ['a', '9999-12-31T00:00:00Z'])).toBe('2026-01-02');
    expect(newest(['a', '9999-12-31T00:00:00Z'], ['a', 'soon'])).toBeUndefined();
  });
});

import { describe, expect, it } from 'vitest';
import { toDuration, toMilliseconds } from './duration.ts';

describe('durations', () => {
  it.each([0, 1, 999, 1000, 250.5, 86_400_001])('turn %d ms to protobuf and back', (ms) => {
    const duration = toDuration(ms);
    expect(Number.isInteger(duration.seconds) && Number.isInteger(duration.nanos)).toBe(true);
    expect(toMilliseconds(duration)).toBe(ms);
  });

  it('carry over', () => {
    expect(toDuration(1999.9999999)).toEqual({ seconds: 2, nanos: 0 });
    expect(toMilliseconds(undefined)).toBe(0);
  });
});

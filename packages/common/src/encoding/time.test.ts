import { describe, expect, it } from 'vitest';
import { parseTimestamp, toTimestamp } from './time.ts';

describe('parseTimestamp', () => {
  it.each([
    ['2026-03-23T12:34:56Z', '2026-03-23T12:34:56.000Z'],
    ['2026-03-23T12:34:56+00:00', '2026-03-23T12:34:56.000Z'],
    ['2026-03-23T12:34:56.123456+00:00', '2026-03-23T12:34:56.123Z'],
    ['2026-03-23T12:34:56.9Z', '2026-03-23T12:34:56.900Z'],
    ['2026-03-23t12:34:56.999999999z', '2026-03-23T12:34:56.999Z'],
    ['2026-03-23T00:10:00+05:30', '2026-03-22T18:40:00.000Z'],
    ['2026-03-23T23:50:00-00:30', '2026-03-24T00:20:00.000Z'],
    ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
  ])('reads %s', (text, utc) => {
    expect(parseTimestamp(text)?.toISOString()).toBe(utc);
  });

  it.each([
    '',
    '2026-03-23',
    '2026-03-23T12:34:56',
    '2026-03-23 12:34:56Z',
    '2026-03-23T12:34Z',
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-03-00T00:00:00Z',
    '2026-03-23T24:00:00Z',
    '2026-03-23T12:60:00Z',
    '2026-12-31T23:59:60Z',
    '2026-03-23T12:34:56+24:00',
    '2026-03-23T12:34:56.Z',
    '2026-03-23T12:34:56.1234567890Z',
    '12026-03-23T12:34:56Z',
    '2026-03-23T12:34:56Z\n',
    '２026-03-23T12:34:56Z',
  ])('refuses %j', (text) => {
    expect(parseTimestamp(text)).toBeUndefined();
  });
});

describe('toTimestamp', () => {
  it('writes milliseconds and Z, and reads back', () => {
    const at = new Date(1_774_269_296_123);
    expect(toTimestamp(at)).toBe('2026-03-23T12:34:56.123Z');
    expect(parseTimestamp(toTimestamp(at))).toEqual(at);
  });

  it.each([new Date(Number.NaN), new Date(Date.UTC(10_000, 0)), new Date(Date.UTC(-1, 0))])(
    'refuses %s',
    (at) => {
      expect(() => toTimestamp(at)).toThrowError(expect.objectContaining({ code: 'ENCODING_INVALID' }));
    },
  );
});

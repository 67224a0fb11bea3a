import { describe, expect, it } from 'vitest';
import { MessageMeter } from './message-meter.ts';

const message = (bytes: number, flag = 0): Buffer => {
  const whole = Buffer.alloc(5 + bytes);
  whole[0] = flag;
  whole.writeUInt32BE(bytes, 1);
  return whole;
};

describe('the meter of messages', () => {
  it.each([1, 2, 3, 4, 5, 7, 1000])('finds the same in chunks of %i bytes', (size) => {
    const meter = new MessageMeter(false);
    const sent = Buffer.concat([message(70_000), message(0), message(3)]);
    for (let at = 0; at < sent.length; at += size) meter.take(sent.subarray(at, at + size));
    const { whole, wholeBytes, announced, partial, compressed } = meter;
    expect({ whole, wholeBytes, announced, partial, compressed }).toEqual({
      whole: 3,
      wholeBytes: 70_003,
      announced: 0,
      partial: false,
      compressed: false,
    });
  });

  it('knows the longest length there is, and what came compressed', () => {
    const meter = new MessageMeter(true);
    for (const byte of [1, 0xff, 0xff, 0xff, 0xff]) {
      expect(meter.announced).toBe(0);
      meter.take(Buffer.of(byte));
    }
    expect(meter.announced).toBe(2 ** 32 - 1);
    expect(meter.compressed).toBe(true);
    expect(meter.partial).toBe(true);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PushOutputRequest } from '../gen/csc/link/v1/link.ts';
import { decodePushOutput, encodePushOutput } from './link-service.ts';

const request = fc.record({
  executionId: fc.string({ unit: 'binary' }),
  logOffset: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  frames: fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
});

describe('the codec of PushOutputRequest', () => {
  it('writes what ts-proto writes, and each reads the other', () => {
    fc.assert(
      fc.property(request, (value) => {
        const bytes = encodePushOutput(value);
        expect(bytes.equals(PushOutputRequest.encode(value).finish())).toBe(true);
        expect(decodePushOutput(bytes)).toEqual(value);
        expect(PushOutputRequest.decode(bytes)).toEqual(value);
      }),
    );
  });

  it('skips fields that it does not know', () => {
    const known = encodePushOutput({ executionId: 'x', logOffset: 1, frames: Buffer.from('f') });
    const unknown = Buffer.from([0x7a, 0x02, 0x61, 0x62]);
    expect(decodePushOutput(Buffer.concat([unknown, known]))).toMatchObject({
      executionId: 'x',
      logOffset: 1,
    });
  });

  it('refuses what is cut off', () => {
    const bytes = encodePushOutput({ executionId: 'x', logOffset: 1, frames: Buffer.alloc(100) });
    expect(() => decodePushOutput(bytes.subarray(0, 50))).toThrow();
  });
});

import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { OutputStream } from '../messages/index.ts';
import { ReadOutputResponse } from '../rpc/index.ts';
import {
  checkIntact,
  chunkOf,
  encodeFrame,
  encodeFrameHead,
  maxFrameBytes,
  readFrames,
  wholeFramesEnd,
} from './frame.ts';

const { STDOUT, STDERR } = OutputStream;

// The format, byte by byte: logs lie on disks for weeks, and gates and executors are not always of one version.
const golden = [
  {
    hex: '0a 12 0a 04 6d61696e 10 01 35 f1866c7a 2a 03 6f6e65',
    frame: { commandId: 'main', stream: STDOUT, offset: 0, monotonicNs: 0, data: 'one', crc32: 0x7a6c86f1 },
  },
  {
    hex: '0a 20 0a 02 c3bc 10 02 18 8380808080 20 20 80808080808080 08 35 78631ff1 2a 03 747765',
    frame: {
      commandId: 'ü',
      stream: STDERR,
      offset: 2 ** 40 + 3,
      monotonicNs: 2 ** 52,
      data: 'twe',
      crc32: 0xf11f6378,
    },
  },
];

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

describe('a frame', () => {
  it.each(golden)('is the bytes $hex', ({ hex, frame: { data, ...head } }) => {
    const bytes = encodeFrame(head, Buffer.from(data));
    expect(bytes.toString('hex')).toBe(hex.replaceAll(' ', ''));
    const [read, ...more] = readFrames(bytesOf(hex));
    expect(more).toEqual([]);
    expect(read).toEqual({ ...head, data: Buffer.from(data), begin: 0, end: bytes.length });
  });

  it('of an older version has no checksum, and is read as it is', () => {
    const [read] = readFrames(bytesOf('0a 0d 0a 04 6d61696e 10 01 2a 03 6f6e65'));
    expect(read).toEqual({
      commandId: 'main',
      stream: STDOUT,
      offset: 0,
      monotonicNs: 0,
      data: Buffer.from('one'),
      begin: 0,
      end: 15,
    });
    expect(() => read && checkIntact(read)).not.toThrow();
  });

  it.each([
    [{ commandId: 'a', stream: STDOUT, offset: 0, monotonicNs: 0 }, 1],
    [{ commandId: 'b'.repeat(300), stream: STDERR, offset: 2 ** 40 + 3, monotonicNs: 2 ** 52 }, 65_536],
    [{ commandId: 'ü', stream: STDOUT, offset: 127, monotonicNs: 128 }, 200],
  ])('is a ReadOutputResponse of one chunk: %o', (head, length) => {
    const data = randomBytes(length);
    const frame = Buffer.concat([encodeFrameHead(head, [data]), data]);
    expect(ReadOutputResponse.decode(frame).item).toEqual({
      $case: 'chunk',
      value: { ...head, data, crc32: crc32(data) },
    });
    expect(wholeFramesEnd(frame)).toBe(frame.length);
    for (const cut of [1, 2, 5, frame.length - 1]) {
      expect(wholeFramesEnd(frame.subarray(0, cut))).toBe(0);
      expect([...readFrames(frame.subarray(0, cut))]).toEqual([]);
    }
  });

  it('begins with a command id of any length that a contract may have', () => {
    const head = { commandId: 'x'.repeat(1_000_000), stream: STDOUT, offset: 0, monotonicNs: 1 };
    const frame = encodeFrame(head, Buffer.from('hi'));
    expect(wholeFramesEnd(frame)).toBe(frame.length);
    expect([...readFrames(frame)]).toMatchObject([{ commandId: head.commandId, end: frame.length }]);
  });

  it('ends the log where the file holds none', () => {
    const head = { commandId: 'a', stream: STDOUT, offset: 0, monotonicNs: 1 };
    const frame = encodeFrame(head, Buffer.from('hi'));
    const file = Buffer.concat([frame, frame, Buffer.alloc(50)]);
    expect(wholeFramesEnd(file)).toBe(2 * frame.length);
    expect(() => [...readFrames(file)]).toThrow('it does not begin with 0x0A');
  });

  it('that is longer than any reader takes is none', () => {
    const long = bytesOf('0a 80 80 80 01');
    expect(long.readUInt8(4) * 2 ** 21).toBe(maxFrameBytes);
    expect(() => [...readFrames(long)]).toThrow('it is too long');
    expect(wholeFramesEnd(long)).toBe(0);
  });
});

describe('the chunk of a message', () => {
  const head = { commandId: 'main', stream: OutputStream.STDERR, offset: 2 ** 40, monotonicNs: 7 };
  const frame = encodeFrame(head, Buffer.from('some data'));

  it('is what the generated decoder makes of it, over the same memory', () => {
    const chunk = chunkOf(frame);
    expect(ReadOutputResponse.decode(frame).item).toEqual({ $case: 'chunk', value: chunk });
    expect(chunk?.data.buffer).toBe(frame.buffer);
  });

  it.each(['1200', '0a00', '0a01', 'ff'])('is left to that where it goes on with %s', (hex) => {
    expect(chunkOf(Buffer.concat([frame, Buffer.from(hex, 'hex')]))).toBeUndefined();
    expect(chunkOf(Buffer.from(hex, 'hex'))?.data.length ?? 0).toBe(0);
  });
});

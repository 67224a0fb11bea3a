import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readSocksGreeting, readSocksRequest } from './socks-message.ts';
import { socksConnect } from './testing.ts';

describe('readSocksGreeting', () => {
  it('says whether a client goes without authentication, and where its message ends', () => {
    expect(readSocksGreeting(Buffer.from([5, 2, 2, 0, 5]))).toEqual({ anonymous: true, length: 4 });
    expect(readSocksGreeting(Buffer.from([5, 1, 2]))).toEqual({ anonymous: false, length: 3 });
  });

  it('waits for all of it, and refuses what is none', () => {
    expect([[], [5], [5, 2, 0]].map((bytes) => readSocksGreeting(Buffer.from(bytes)))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(
      [
        [4, 1],
        [5, 0],
      ].map((bytes) => readSocksGreeting(Buffer.from(bytes))),
    ).toEqual(['malformed', 'malformed']);
  });
});

describe('readSocksRequest', () => {
  it.each([
    ['a name', socksConnect('a.test', 443), { kind: 'name', text: 'a.test' }, 443],
    ['IPv4', Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, 0, 80]), { kind: 'ip', text: '127.0.0.1' }, 80],
    [
      'IPv6',
      Buffer.from([5, 1, 0, 4, ...new Array(15).fill(0), 1, 1, 0]),
      { kind: 'ip', text: '0000:0000:0000:0000:0000:0000:0000:0001' },
      256,
    ],
  ])('reads %s', (_, bytes, address, port) => {
    const more = Buffer.concat([bytes, Buffer.from([1, 2])]);
    expect(readSocksRequest(more)).toEqual({ command: 1, address, port, length: bytes.length });
    for (let end = 0; end < bytes.length; end += 1) {
      expect(readSocksRequest(bytes.subarray(0, end))).toBeUndefined();
    }
  });

  it.each([[[4]], [[5, 1, 1]], [[5, 1, 0, 2]], [[5, 1, 0, 0]]])('refuses %j', (bytes) => {
    expect(readSocksRequest(Buffer.from(bytes))).toBe('malformed');
  });

  it('survives anything', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const read = readSocksRequest(Buffer.concat([Buffer.from([5, 1, 0]), bytes]));
        if (typeof read === 'object') expect(read.length).toBeLessThanOrEqual(bytes.length + 3);
      }),
    );
  });
});

import { cutRecord, makeHello } from '@csc-fleet/test-kit/egress/bench';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type ClientHello, createClientHelloReader, maxHelloBytes } from './client-hello.ts';

let hello: Buffer;

beforeAll(async () => {
  hello = await makeHello('Www.Example.org');
});

function read(...chunks: readonly Uint8Array[]): ClientHello {
  const reader = createClientHelloReader();
  return chunks.reduce<ClientHello>((_, chunk) => reader.push(chunk), { kind: 'incomplete' });
}

// A hello of one's own: `extensions` behind what every hello has.
function craft(extensions: Buffer, behind: Buffer = Buffer.alloc(0)): Buffer {
  const start = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32), Buffer.from([0, 0, 2, 0x13, 1, 1, 0])]);
  const body = Buffer.concat([start, vector(extensions), behind]);
  const message = Buffer.concat([Buffer.from([1, 0, body.length >> 8, body.length & 255]), body]);
  return Buffer.concat([Buffer.from([22, 3, 1]), vector(message)]);
}

function vector(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}

function extension(type: number, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(data)]);
}

function nameEntry(name: string, type = 0): Buffer {
  return Buffer.concat([Buffer.from([type]), vector(Buffer.from(name, 'latin1'))]);
}

const named = (...entries: readonly Buffer[]): Buffer => extension(0, vector(Buffer.concat(entries)));

describe('createClientHelloReader', () => {
  it("reads a real client's hello", () => {
    expect(read(hello)).toEqual({ kind: 'hello', serverName: 'Www.Example.org', isEncrypted: false });
  });

  it('finds no name where there is none', async () => {
    expect(read(await makeHello())).toEqual({ kind: 'hello', serverName: undefined, isEncrypted: false });
    expect(read(craft(extension(10, Buffer.from([0]))))).toEqual({
      kind: 'hello',
      serverName: undefined,
      isEncrypted: false,
    });
  });

  it('reads the same, however it is cut', () => {
    const sizes = fc.integer({ min: 200, max: 4096 });
    fc.assert(
      fc.property(sizes, fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 30 }), (size, cuts) => {
        const bytes = cutRecord(hello, size);
        const chunks: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(at, at + cut));
          at += cut;
        }
        expect(read(...chunks, bytes.subarray(at))).toEqual({
          kind: 'hello',
          serverName: 'Www.Example.org',
          isEncrypted: false,
        });
      }),
    );
  });

  it('is incomplete up to the last byte', () => {
    const reader = createClientHelloReader();
    for (const byte of hello.subarray(0, -1)) {
      expect(reader.push(Uint8Array.of(byte))).toEqual({ kind: 'incomplete' });
    }
    expect(reader.push(hello.subarray(-1)).kind).toBe('hello');
  });

  it('keeps to what it has said', () => {
    expect(read(hello, Buffer.from('more')).kind).toBe('hello');
    expect(read(Buffer.from('GET'), hello).kind).toBe('not_tls');
  });

  it.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
    ['SSH', Buffer.from('SSH-2.0')],
    ['SSL 2', Buffer.from([0x80, 0x2e, 1, 3, 1])],
    ['an alert', Buffer.from([21, 3, 3, 0, 2, 2, 0])],
    ['application data', Buffer.from([23, 3, 3, 0, 1, 0])],
    ['another major version', Buffer.from([22, 4])],
  ])('knows that %s is no TLS', (_, bytes) => {
    expect(read(bytes)).toEqual({ kind: 'not_tls' });
  });

  it.each([
    ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
    ['a record that is too long', Buffer.from([22, 3, 1, 0x40, 1])],
    ['a ServerHello', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
    ['an empty hello', Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0])],
    ['another record between two halves', Buffer.from([22, 3, 1, 0, 2, 1, 0, 23, 3, 3])],
    ['two names', craft(named(nameEntry('a.test'), nameEntry('b.test')))],
    [
      'two extensions with names',
      craft(Buffer.concat([named(nameEntry('a.test')), named(nameEntry('b.test'))])),
    ],
    ['a name of another type', craft(named(nameEntry('a.test', 1)))],
    ['an empty name', craft(named(nameEntry('')))],
    ['an empty list of names', craft(named())],
    [
      'bytes behind the names',
      craft(extension(0, Buffer.concat([vector(nameEntry('a.test')), Buffer.from([0])]))),
    ],
    ['bytes behind the extensions', craft(named(nameEntry('a.test')), Buffer.from([0]))],
    ['an extension that is cut off', craft(Buffer.from([0, 0, 0, 9, 0]))],
  ])('refuses %s', (_, bytes) => {
    expect(read(bytes)).toEqual({ kind: 'malformed' });
  });

  it('refuses a second message in the same record', () => {
    const body = hello.subarray(5);
    const twice = Buffer.concat([Buffer.from([22, 3, 1]), vector(Buffer.concat([body, body]))]);
    expect(read(twice)).toEqual({ kind: 'malformed' });
  });

  it('gives up on what is too long', () => {
    expect(read(Buffer.from([22, 3, 1, 0, 4, 1, 1, 0, 0]))).toEqual({ kind: 'too_long' });
    const long = Buffer.concat([Buffer.from([22, 3, 1, 0, 5, 1, 0, 0x3f, 0xff, 0])]);
    const more = Buffer.from([22, 3, 1, 0, 1, 0]);
    const chunks = Array.from({ length: maxHelloBytes / more.length }, () => more);
    expect(read(long, ...chunks)).toEqual({ kind: 'too_long' });
  });

  it('survives anything', () => {
    const flip = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(flip, { maxLength: 8 }), fc.nat(), (flips, cut) => {
        const bytes = Buffer.from(hello);
        for (const [at, value] of flips) bytes[at % bytes.length] = value;
        expect(read(bytes.subarray(0, cut % (bytes.length + 1)))).toHaveProperty('kind');
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        (bytes) => read(craft(Buffer.from(bytes))).kind !== 'incomplete',
      ),
    );
  });
});

import { once } from 'node:events';
import { type ClientHttp2Session, connect, createServer, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { CscError } from '@csc-fleet/common/errors';
import { maxMessageBytes, toServiceError, writeMessagePrefix } from '@csc-fleet/common/rpc';
import { Client, credentials, Metadata, type ServiceDefinition, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { UnaryHandler, UnaryWire } from './calls.ts';
import { callsPerTurn, servePlainCalls } from './plain-calls.ts';

const raw = (value: unknown): Buffer => value as Buffer;
const method = (path: string, responseStream = false) => ({
  path,
  requestStream: false,
  responseStream,
  requestDeserialize: raw,
  responseDeserialize: raw,
  requestSerialize: raw,
  responseSerialize: raw,
});
const definition: ServiceDefinition = {
  call: method('/test/Call'),
  broken: {
    ...method('/test/Broken'),
    responseSerialize: () => {
      throw new TypeError('no message');
    },
  },
  stream: method('/test/Stream', true),
};

const asked: UnaryWire[] = [];
let answer: UnaryHandler<Buffer>;
const serve = servePlainCalls([
  [
    definition,
    {
      call: (wire: UnaryWire, done: Parameters<UnaryHandler<Buffer>>[1]) => {
        asked.push(wire);
        answer(wire, done);
      },
      broken: (_: UnaryWire, done: Parameters<UnaryHandler<Buffer>>[1]) => done(null, Buffer.alloc(0)),
      stream: () => undefined,
    },
  ],
]);

const server = createServer();
let session: ClientHttp2Session;
let client: Client;
const passed: string[] = [];
let whole: number;

beforeEach(async () => {
  answer = ({ request }, done) => done(null, request);
  asked.length = 0;
  passed.length = 0;
  whole = 0;
  server.removeAllListeners('stream');
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    const party = stream.session ?? stream;
    if (serve(stream, headers, { party, took: () => undefined, ended: () => (whole += 1) })) return;
    passed.push(headers[':path'] ?? '');
    stream.respond({ ':status': 404 }, { endStream: true });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  session = connect(`http://127.0.0.1:${port}`);
  client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
});
afterEach(async () => {
  client.close();
  session.close();
  server.close();
  await once(server, 'close');
});

const call = (
  message: Buffer,
  { path = '/test/Call', deadlineMs = 60_000, metadata = new Metadata() } = {},
) =>
  new Promise<Buffer | undefined>((resolve, reject) => {
    const options = { deadline: Date.now() + deadlineMs };
    client.makeUnaryRequest(path, raw, raw, message, metadata, options, (error, value) =>
      error === null ? resolve(value) : reject(error),
    );
  });

/** As it is on the wire. */
function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  writeMessagePrefix(prefix, message.length);
  return Buffer.concat([prefix, message]);
}

const plain = {
  ':method': 'POST',
  ':path': '/test/Call',
  'content-type': 'application/grpc',
  te: 'trailers',
};

/** What comes of a call of these headers and this body, in these pieces. */
async function send(pieces: readonly Buffer[], headers: IncomingHttpHeaders = plain) {
  const stream = session.request(headers);
  const seen: IncomingHttpHeaders = {};
  stream.on('response', (it) => Object.assign(seen, it));
  stream.on('trailers', (it) => Object.assign(seen, it));
  const body: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => body.push(chunk));
  for (const piece of pieces) await new Promise((resolve) => stream.write(piece, resolve));
  stream.end();
  await once(stream, 'close');
  return { status: seen['grpc-status'], http: seen[':status'], body: Buffer.concat(body) };
}

describe('a plain call', () => {
  it('is answered as gRPC has it, whatever its length, many at once', async () => {
    const messages = [0, 1, 1200, 70_000, 1_000_000].map((length) => Buffer.alloc(length, 'm'));
    const answers = await Promise.all(messages.map((message) => call(message)));
    expect(answers.map((it, at) => it?.equals(messages[at] ?? Buffer.from('-')))).toEqual(
      messages.map(() => true),
    );
  });

  it('is one message, in whatever pieces it comes', async () => {
    const bytes = framed(Buffer.from('a message'));
    const single = Array.from(bytes, (byte) => Buffer.from([byte]));
    expect(await send(single)).toEqual({ status: '0', http: 200, body: bytes });
    expect(await send([bytes.subarray(0, 7), bytes.subarray(7)])).toEqual({
      status: '0',
      http: 200,
      body: bytes,
    });
  });

  it('has who calls, by what path and with what metadata', async () => {
    const metadata = new Metadata();
    metadata.set('traceparent', '00-1');
    let seen: unknown[] = [];
    answer = (wire, done) => {
      const [trace, state] = [wire.metadata.get('traceparent'), wire.metadata.get('tracestate')];
      seen = [wire.getPath(), wire.getPeer(), trace, state, wire.getAuthContext()];
      done(null, wire.request);
    };
    await call(Buffer.alloc(1), { metadata });
    const peer = expect.stringMatching(/^127\.0\.0\.1:\d+$/);
    expect(seen).toEqual(['/test/Call', peer, ['00-1'], [], {}]);
  });

  it('is answered while others that came with it still wait', async () => {
    const wanted = 6 * callsPerTurn;
    const served: number[] = [];
    const calls = Array.from({ length: wanted }, async () => {
      const stream = session.request(plain);
      stream.once('response', () => served.push(asked.length));
      stream.resume().end(framed(Buffer.alloc(1)));
      await once(stream, 'close');
    });
    await Promise.all(calls);
    expect(asked).toHaveLength(wanted);
    expect(Math.min(...served)).toBeLessThan(wanted);
  });

  it('waits for its turn among parties, not for all that another one has sent before it', async () => {
    const other = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await once(other, 'remoteSettings');
    const wanted = 50 * callsPerTurn;
    let own: ReturnType<typeof other.request> | undefined;
    let before = 0;
    answer = ({ request }, done) => {
      own ??= other
        .request(plain)
        .resume()
        .end(framed(Buffer.alloc(2)));
      if (request.length === 2) before = asked.length;
      done(null, request);
    };
    const calls = Array.from({ length: wanted }, async () => {
      await once(
        session
          .request(plain)
          .resume()
          .end(framed(Buffer.alloc(1))),
        'close',
      );
    });
    await Promise.all(calls);
    if (own?.closed === false) await once(own, 'close');
    other.close();
    expect(before).toBeGreaterThan(1);
    expect(before).toBeLessThan(wanted / 2);
  });

  it('is served no more where its caller has given it up, or its time is over, before its turn', async () => {
    const streams = Array.from({ length: 100 * callsPerTurn }, (_, index) =>
      session.request(index % 2 === 0 ? plain : { ...plain, 'grpc-timeout': '200m' }).resume(),
    );
    let waiting = 0;
    answer = ({ request }, done) => {
      if (asked.length === 5 * callsPerTurn) {
        waiting = whole - asked.length;
        for (const [index, stream] of streams.entries()) if (index % 2 === 0) stream.close(8);
        for (const until = performance.now() + 250; performance.now() < until; );
      }
      done(null, request);
    };
    for (const stream of streams) stream.end(framed(Buffer.alloc(1)));
    await Promise.all(streams.map((stream) => stream.closed || once(stream, 'close')));
    // Its turn comes after all of theirs.
    await send([framed(Buffer.alloc(1))]);
    expect(waiting).toBeGreaterThan(15 * callsPerTurn);
    expect(asked.length).toBeLessThan(10 * callsPerTurn);
  });

  it('fails with the status and the details of its error', async () => {
    answer = (_, done) => done(toServiceError(new CscError('RATE_LIMITED', 'später', { retryAfterMs: 10 })));
    const error = await call(Buffer.alloc(1)).catch((it: unknown) => it);
    expect(error).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: 'später' });
    expect((error as { metadata: Metadata }).metadata.get('grpc-status-details-bin')).toHaveLength(1);
  });

  it('ends at its deadline, and what is answered after that goes nowhere', async () => {
    let late = (): void => {};
    const begun = new Promise<void>((resolve) => {
      answer = (_, done) => {
        late = () => done(null, Buffer.from('late'));
        resolve();
      };
    });
    // The client's own deadline is left out: it would end the call first.
    const ended = send([framed(Buffer.alloc(1))], { ...plain, 'grpc-timeout': '20m' });
    await begun;
    expect((await ended).status).toBe(String(status.DEADLINE_EXCEEDED));
    late();
    expect((await call(Buffer.alloc(1), { path: '/test/Broken' }).catch((it) => it)).code).toBe(
      status.INTERNAL,
    );
  });

  it('that its caller has left is answered to nobody', async () => {
    let late = (): void => {};
    const begun = new Promise<void>((resolve) => {
      answer = (_, done) => {
        late = () => done(null, Buffer.from('late'));
        resolve();
      };
    });
    const stream = session.request(plain);
    stream.on('error', () => undefined);
    stream.end(framed(Buffer.alloc(1)));
    await begun;
    stream.close();
    await once(stream, 'close');
    await new Promise((resolve) => session.ping(resolve));
    late();
    answer = ({ request }, done) => done(null, request);
    expect(await call(Buffer.from('next'))).toEqual(Buffer.from('next'));
  });

  it('of no message, of half of one and of two is refused', async () => {
    const bytes = framed(Buffer.from('a message'));
    const refused = { status: String(status.UNIMPLEMENTED), http: 200, body: Buffer.alloc(0) };
    for (const pieces of [
      [],
      [bytes.subarray(0, 3)],
      [bytes.subarray(0, 9)],
      [bytes, bytes],
      [bytes, bytes.subarray(0, 1)],
    ])
      expect(await send(pieces)).toEqual(refused);
    expect(asked).toEqual([]);
  });

  it('is not kept beyond its message, however much its caller sends', async () => {
    const stream = session.request(plain);
    stream.on('error', () => undefined);
    stream.write(framed(Buffer.alloc(10)));
    stream.write(Buffer.alloc(1024));
    await once(stream, 'close');
    expect(stream.rstCode).toBe(0);
    expect(asked).toEqual([]);
  });

  it('that is refused as its last byte comes is served to nobody', async () => {
    server.prependListener('stream', (stream) => {
      stream.once('data', () => {
        stream.respond({ ':status': 200, 'grpc-status': status.RESOURCE_EXHAUSTED }, { endStream: true });
        stream.close();
      });
    });
    const refused = await send([framed(Buffer.from('a message'))]);
    expect(refused.status).toBe(String(status.RESOURCE_EXHAUSTED));
    await new Promise((resolve) => session.ping(resolve));
    expect(asked).toEqual([]);
  });

  it('has no answer that is longer than a message may be, or none at all', async () => {
    answer = (_, done) => done(null, Buffer.alloc(maxMessageBytes + 1));
    await expect(call(Buffer.alloc(1))).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    const broken = call(Buffer.alloc(1), { path: '/test/Broken' });
    await expect(broken).rejects.toMatchObject({ code: status.INTERNAL });
  });
});

describe('what is no plain call', () => {
  it.each([
    ['another method', { ...plain, ':path': '/test/Other' }],
    ['a method that streams', { ...plain, ':path': '/test/Stream' }],
    ['another content type', { ...plain, 'content-type': 'application/grpc+json' }],
    ['a deadline that is no time', { ...plain, 'grpc-timeout': 'soon' }],
  ])('is left to gRPC: %s', async (_, headers) => {
    expect((await send([], headers)).http).toBe(404);
    expect(passed).toEqual([headers[':path']]);
  });
});

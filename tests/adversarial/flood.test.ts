import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import { TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { defaultGateLimits, type GateLimits } from '../../packages/gate/src/service/config.ts';
import type { TrafficLimits } from '../../packages/gate/src/traffic/limits.ts';
import {
  endHeaders,
  endStream,
  frame,
  RawConnection,
  toFrame,
  toHeaderBlock,
  toMessage,
} from '../flood/raw-connection.ts';

const check = '/csc.gate.v1.Gate/Check';
const healthWatch = '/grpc.health.v1.Health/Watch';
const reflection = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
const mebibyte = 1024 * 1024;

let pki: TestPki;
let test: TestGate;
let served: ServedGate;
const sessions: ClientHttp2Session[] = [];

beforeAll(async () => {
  pki = await TestPki.make();
});
afterAll(() => pki.remove());
beforeEach(async () => {
  test = await TestGate.open();
});
afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  await served.stop();
  await test.close();
});

const plenty = { requestsPerSec: 1e6, burst: 1e6, concurrentCalls: 1e6 };

async function serve(traffic: Partial<TrafficLimits>, limits: Partial<GateLimits> = plenty): Promise<void> {
  const defaults = defaultGateLimits();
  served = await ServedGate.start(test.gate, pki, {
    ...limits,
    traffic: { ...defaults.traffic, ...traffic },
  });
}

function open(name: string): ClientHttp2Session {
  const { ca, cert, key } = pki.files(name);
  const files = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
  const session = connectHttp2(`https://${served.address}`, {
    ...files,
    servername: 'localhost',
    // Of this side: what it means to send.
    maxSessionMemory: 1000,
  });
  session.on('error', () => undefined);
  sessions.push(session);
  return session;
}

interface Ended {
  readonly grpcStatus: number | undefined;
  readonly rstCode: number;
}

/** A call that sends `body` and, unless it is whole, does not end; resolves when the gate has ended it. */
function call(
  session: ClientHttp2Session,
  path: string,
  body?: Buffer,
  { whole = false } = {},
): Promise<Ended> {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  let grpcStatus: number | undefined;
  stream.on('error', () => undefined);
  stream.on('response', (headers) => {
    const value = headers['grpc-status'];
    if (value !== undefined) grpcStatus = Number(value);
  });
  stream.resume();
  if (body !== undefined) stream.write(body);
  if (whole) stream.end();
  return new Promise((resolve) =>
    stream.once('close', () => resolve({ grpcStatus, rstCode: stream.rstCode ?? -1 })),
  );
}

const statuses = (ended: readonly Ended[]) => ended.map((it) => it.grpcStatus);
const exhausted = status.RESOURCE_EXHAUSTED;

describe('a body that stops one byte short', () => {
  const short = (bytes: number) => toMessage(Buffer.alloc(bytes)).subarray(0, -1);

  it('is refused before it is read where its identity has too much on its way', async () => {
    await serve({ bytesInFlight: 8 * mebibyte, messageTimeoutSec: 600 });
    const session = open('client-agent');
    const ended: Ended[] = [];
    const calls = Array.from({ length: 20 }, () =>
      call(session, check, short(mebibyte)).then((it) => ended.push(it)),
    );
    await Promise.all(calls.slice(8));
    expect(statuses(ended)).toEqual(Array(12).fill(exhausted));
    // What is another's goes on.
    const other = await call(
      open('client-other'),
      check,
      toMessage(Buffer.alloc(5 * mebibyte)).subarray(0, 5),
    );
    expect(other.grpcStatus).toBe(exhausted);
  });

  it('is refused where all together have too much', async () => {
    await serve({ totalBytesInFlight: mebibyte, messageTimeoutSec: 600 });
    const ended = await Promise.race(
      Array.from({ length: 4 }, () => call(open('client-agent'), check, short(mebibyte / 2))),
    );
    expect(ended.grpcStatus).toBe(exhausted);
  });

  it('ends after a while, as does a call without any', async () => {
    await serve({ messageTimeoutSec: 1 });
    const session = open('client-agent');
    const ended = await Promise.all([
      call(session, check, short(1000)),
      call(session, check),
      call(session, reflection),
    ]);
    expect(statuses(ended)).toEqual([exhausted, exhausted, exhausted]);
  });

  it('is not waited for where it would be too long, or is compressed', async () => {
    await serve({});
    const session = open('client-agent');
    const long = Buffer.from([0, 0, 0x50, 0, 0]);
    const packed = Buffer.from([1, 0, 0, 1, 0]);
    const ended = await Promise.all([call(session, check, long), call(session, check, packed)]);
    expect(statuses(ended)).toEqual([exhausted, status.INVALID_ARGUMENT]);
  });
});

describe('a whole message whose call does not end', () => {
  const run = '/csc.gate.v1.Gate/Run';
  const message = toMessage(Buffer.alloc(mebibyte));

  /** Resolves once the gate has them. */
  async function leave(session: ClientHttp2Session, path: string, messages: number): Promise<void> {
    for (let at = 0; at < messages; at += 1) {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
      });
      stream.on('error', () => undefined).resume();
      await new Promise((resolve) => stream.write(message, resolve));
    }
    await new Promise((resolve) => session.ping(resolve));
  }

  it.each([check, run])('is on its way still, for its identity and for all together: %s', async (path) => {
    await serve({ bytesInFlight: 8 * mebibyte, messageTimeoutSec: 600 });
    const session = open('client-agent');
    await leave(session, path, 8);
    expect((await call(session, path, message, { whole: true })).grpcStatus).toBe(exhausted);
    await served.stop();
    await serve({ totalBytesInFlight: 3 * mebibyte, messageTimeoutSec: 600 });
    await leave(open('client-agent'), path, 3);
    expect((await call(open('client-other'), path, message, { whole: true })).grpcStatus).toBe(exhausted);
  });

  it('is not counted once it has: one after the other has room', async () => {
    await serve({ bytesInFlight: 8 * mebibyte, totalBytesInFlight: 8 * mebibyte });
    const session = open('client-agent');
    for (let at = 0; at < 20; at += 1)
      expect((await call(session, check, message, { whole: true })).grpcStatus).not.toBe(exhausted);
  });
});

describe('an answer that nobody reads', () => {
  it.each(['application/grpc', 'application/grpc+json'])('is not kept for ever: %s', async (contentType) => {
    await serve({ messageTimeoutSec: 0.2 });
    const session = open('client-agent');
    session.settings({ initialWindowSize: 0 });
    await new Promise((resolve) => session.ping(resolve));
    const stream = session.request({
      ':method': 'POST',
      ':path': '/csc.gate.v1.Gate/GetStatus',
      'content-type': contentType,
    });
    stream.on('error', () => undefined).resume();
    stream.end(toMessage());
    // Far longer than it is kept.
    await Promise.race([new Promise((resolve) => stream.once('close', resolve)), delay(10_000)]);
    expect(stream.rstCode).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });
});

describe('a limit of calls', () => {
  it('is for calls of the wrong role, of health and of reflection, too', async () => {
    await serve({}, { requestsPerSec: 0.001, burst: 3 });
    const session = open('client-agent');
    const paths = ['/csc.link.v1.ExecutorLink/Connect', '/csc.link.v1.ExecutorLink/PushOutput', '/no/Such'];
    for (const path of paths)
      expect((await call(session, path, toMessage(), { whole: true })).grpcStatus).not.toBe(exhausted);
    for (const path of [...paths, healthWatch, reflection, check])
      expect((await call(session, path)).grpcStatus).toBe(exhausted);
  });

  it('bounds those that stay open', async () => {
    await serve({}, { ...plenty, concurrentCalls: 3 });
    const session = open('client-agent');
    const watching = Array.from({ length: 3 }, () => call(session, healthWatch, toMessage()));
    expect((await call(session, healthWatch, toMessage())).grpcStatus).toBe(exhausted);
    session.destroy();
    await Promise.all(watching);
  });

  it('ends the connections of who goes on and on, and of nobody else', async () => {
    await serve({}, { requestsPerSec: 0.001, burst: 1 });
    const [session, second, other] = [open('client-agent'), open('client-agent'), open('client-other')];
    await Promise.all(
      [session, second, other].map((it) => new Promise((resolve) => it.once('connect', resolve))),
    );
    const closed = Promise.all(
      [session, second].map((it) => new Promise((resolve) => it.once('close', resolve))),
    );
    for (let i = 0; i < 20 && !session.destroyed; i++)
      await call(session, check, toMessage(), { whole: true });
    await closed;
    const again = open('client-agent');
    await new Promise((resolve) => again.once('close', resolve));
    expect(other.destroyed).toBe(false);
    expect((await call(other, '/no/Such', toMessage(), { whole: true })).grpcStatus).toBe(
      status.UNIMPLEMENTED,
    );
  });
});

describe('a connection', () => {
  const endedBy = async (batch: (connection: RawConnection) => Buffer): Promise<void> => {
    await serve({});
    const connection = await RawConnection.open(served.address, pki.files('client-agent'));
    for (let i = 0; i < 200 && !connection.closed; i++) {
      await connection.write(batch(connection));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await connection.ended;
    // The gate serves on.
    expect((await call(open('client-other'), '/no/Such', toMessage(), { whole: true })).grpcStatus).toBe(
      status.UNIMPLEMENTED,
    );
  };
  const many = (make: () => Buffer) => Buffer.concat(Array.from({ length: 100 }, make));

  it('that opens and resets streams without end is ended', () =>
    endedBy((it) =>
      many(() => {
        const id = it.next();
        const opened = toFrame(frame.headers, endHeaders | endStream, id, toHeaderBlock(check));
        return Buffer.concat([opened, toFrame(frame.reset, 0, id, Buffer.from([0, 0, 0, 8]))]);
      }),
    ));

  it('that pings without end is ended', () =>
    endedBy(() => many(() => toFrame(frame.ping, 0, 0, Buffer.alloc(8)))));

  it('that changes its settings without end is ended', () =>
    endedBy(() => many(() => toFrame(frame.settings, 0, 0))));

  it('that says nothing makes room for the next, and is ended', async () => {
    const { connections } = defaultGateLimits().traffic;
    await serve({ connections: { ...connections, silentPerAddress: 2, handshakeTimeoutSec: 1 } });
    const ended: number[] = [];
    const closing: Promise<void>[] = [];
    for (let i = 0; i < 4; i++) {
      const socket = connectTcp(served.server.port, '127.0.0.1');
      socket.on('error', () => undefined);
      closing.push(
        new Promise((resolve) =>
          socket.once('close', () => {
            ended.push(i);
            resolve();
          }),
        ),
      );
      await new Promise((resolve) => socket.once('connect', resolve));
    }
    expect((await call(open('client-agent'), '/no/Such', toMessage(), { whole: true })).grpcStatus).toBe(
      status.UNIMPLEMENTED,
    );
    await Promise.all(closing);
    expect(ended.slice(0, 2).sort()).toEqual([0, 1]);
  });
});

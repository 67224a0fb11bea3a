import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PushOutputRequest } from '@csc-fleet/common/rpc';
import { Client, credentials, Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { describe, expect, it, vi } from 'vitest';
import { decodePushOutput } from './push-request.ts';
import { Reading, readAsAnswered } from './reading.ts';
import { createWrite, Unread } from './writing.ts';

const raw = (it: Buffer): Buffer => it;
const path = '/test/Echo';
const echo = {
  path,
  requestStream: true,
  responseStream: true,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
};
const questions = 300;

it('leaves no more answers waiting than it is told, and answers all that are read', async () => {
  let mostWaiting = 0;
  let asked = 0;
  const server = new Server();
  server.addService(
    { echo },
    {
      echo: (call: ServerDuplexStream<Buffer, Buffer>) => {
        readAsAnswered(call);
        call.on('data', () => {
          asked += 1;
          call.write(Buffer.alloc(50_000));
          mostWaiting = Math.max(mostWaiting, call.writableLength);
        });
        call.on('end', () => call.end());
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, it) =>
      error === null ? resolve(it) : reject(error),
    ),
  );
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const call = client.makeBidiStreamRequest(path, raw, raw);
  call.pause();
  for (let i = 0; i < questions; i++) call.write(Buffer.alloc(1000));
  call.end();
  while (mostWaiting < 16) await new Promise((resolve) => setImmediate(resolve));
  const askedUnread = asked;
  let answers = 0;
  for await (const answer of call) answers += (answer as Buffer).length / 50_000;
  client.close();
  server.forceShutdown();
  // Some may be on their way through grpc-js when it is told to stop.
  expect(mostWaiting).toBeLessThan(32);
  expect(askedUnread).toBeLessThan(questions);
  expect(answers).toBe(questions);
});

it('reads only once everybody who held it back has let go', () => {
  const call = new PassThrough();
  const reading = new Reading(call);
  const [first, second] = [reading.hold(), reading.hold()];
  first();
  first();
  expect(call.isPaused()).toBe(true);
  second();
  expect(call.isPaused()).toBe(false);
  const third = reading.hold();
  first();
  expect(call.isPaused()).toBe(true);
  third();
  expect(call.isPaused()).toBe(false);
});

describe('a PushOutputRequest', () => {
  const frames = Buffer.from('frames');
  const encode = (message: PushOutputRequest) => Buffer.from(PushOutputRequest.encode(message).finish());

  it('is read as the generated decoder reads it, over the same memory', () => {
    const bytes = encode({ executionId: 'x', logOffset: 2 ** 40, frames });
    const message = decodePushOutput(bytes);
    expect(message).toEqual(PushOutputRequest.decode(bytes));
    expect(message.frames.buffer).toBe(bytes.buffer);
  });

  // Without frames; frames that are not last, that come twice, with a new member, and of another type.
  it.each(['', '0a0178', '1a01611001', '1a01611a0162', '1a016120017a0162', '20011a0161', '1801'])(
    'is read so, whatever its members are: %j',
    (hex) => {
      const bytes = Buffer.from(hex, 'hex');
      expect(decodePushOutput(bytes)).toEqual(PushOutputRequest.decode(bytes));
    },
  );

  it.each([
    ['before its frames', (members: Buffer) => Buffer.concat([members, Buffer.from('1a0161', 'hex')])],
    ['behind them', (members: Buffer) => Buffer.concat([Buffer.from('1a0161', 'hex'), members])],
    ['in a group', (members: Buffer) => Buffer.concat([Buffer.from([0x7b]), members, Buffer.from([0x7c])])],
  ])('is not passed over where it has members by the million %s', (_, place) => {
    const bytes = place(Buffer.alloc(1 << 20, Buffer.from('7a00', 'hex')));
    expect(() => decodePushOutput(bytes)).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }));
  });

  it.each(['1aff', '1a05', 'ff', '1affffffff0f'])('is refused as by the generated decoder: %s', (hex) => {
    const bytes = Buffer.from(hex, 'hex');
    expect(() => PushOutputRequest.decode(bytes)).toThrow();
    expect(() => decodePushOutput(bytes)).toThrow();
  });
});

describe('a message that is encoded already', () => {
  /** A call whose headers have gone out, or not, with so many messages that grpc-js has not handed on. */
  function callWith(writableLength: number, headersSent = true) {
    const stream = Object.assign(new PassThrough(), { headersSent });
    const handed: unknown[] = [];
    const wire = Object.assign(new EventEmitter(), {
      call: { stream },
      writableNeedDrain: false,
      writableLength,
      write: (message: unknown, done: () => void) => {
        handed.push(message);
        done();
        return true;
      },
    });
    const gone = new AbortController();
    const unread = new Unread();
    return { stream, handed, unread, gone, write: createWrite<Uint8Array>(wire, gone.signal, unread) };
  }

  it('goes to the stream as gRPC frames it, and counts until it is taken', async () => {
    const { stream, handed, unread, write } = callWith(0);
    const uncork = vi.spyOn(stream, 'uncork');
    await write(Buffer.from('one'));
    await write(Buffer.from('three'));
    expect([uncork.mock.calls.length, unread.bytes]).toEqual([0, 8]);
    await nextTurn();
    // In one piece.
    expect(uncork).toHaveBeenCalledOnce();
    expect(stream.read().toString('latin1')).toBe('\0\0\0\0\x03one\0\0\0\0\x05three');
    await write(Buffer.from('on'));
    await nextTurn();
    expect(stream.read().toString('latin1')).toBe('\0\0\0\0\x02on');
    expect(handed).toEqual([]);
    await expect.poll(() => unread.bytes).toBe(0);
  });

  it.each([
    { where: 'others wait there', make: () => callWith(1) },
    { where: 'headers have not gone out', make: () => callWith(0, false) },
  ])('goes the way of the others where $where', async ({ make }) => {
    const given = make();
    await given.write(Buffer.from('one'));
    expect(given.handed).toEqual([Buffer.from('one')]);
    expect(given.stream.read()).toBe(null);
  });

  it('goes nowhere else where the stream has ended', async () => {
    const { stream, handed, write } = callWith(0);
    stream.end();
    await write(Buffer.from('one'));
    expect(handed).toHaveLength(1);
  });
});

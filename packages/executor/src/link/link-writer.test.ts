import { once } from 'node:events';
import {
  type ConnectRequest,
  ExecutorLinkClient,
  type ExecutorLinkServer,
  ExecutorLinkService,
} from '@csc-fleet/common/rpc';
import { credentials, type handleBidiStreamingCall, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLinkWriter, type LinkCall } from './link-writer.ts';

let server: Server;
let client: ExecutorLinkClient;
let call: LinkCall;
let arrived: string[];
let hasAll: PromiseWithResolvers<void>;
let reads: { pause(): unknown };
const count = 40;

const message = (name: string): ConnectRequest => ({
  message: { $case: 'accepted', value: { executionId: name, notes: ['x'.repeat(name.length * 100)] } },
});
const nameOf = ({ message: it }: ConnectRequest): string =>
  it?.$case === 'accepted' ? `${it.value.executionId} ${it.value.notes[0]?.length}` : 'another';
const expected = Array.from({ length: count }, (_, at) => `${at} ${String(at).length * 100}`);

beforeEach(async () => {
  [arrived, hasAll] = [[], Promise.withResolvers()];
  const connect: handleBidiStreamingCall<ConnectRequest, object> = (answering) => {
    reads = answering;
    answering.on('data', (request: ConnectRequest) => {
      arrived.push(nameOf(request));
      answering.write({});
      if (arrived.length === count) hasAll.resolve();
    });
    answering.on('error', () => undefined);
    answering.on('end', () => answering.end());
  };
  server = new Server();
  server.addService({ connect: ExecutorLinkService.connect }, { connect } as Pick<
    ExecutorLinkServer,
    'connect'
  >);
  const port = await new Promise<number>((resolve) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (_, bound) => resolve(bound)),
  );
  client = new ExecutorLinkClient(`127.0.0.1:${port}`, credentials.createInsecure());
  call = client.connect();
  call.on('error', () => undefined);
  call.on('end', () => undefined);
});

afterEach(() => {
  call.cancel();
  client.close();
  server.forceShutdown();
});

describe('messages to the gate', () => {
  it('arrive in order', async () => {
    let taken = 0;
    const write = createLinkWriter(call, () => {
      taken += 1;
    });
    call.resume();
    for (let at = 0; at < count; at += 1) write(message(String(at)));
    await hasAll.promise;
    expect(arrived).toEqual(expected);
    await expect.poll(() => taken).toBe(count);
  });

  it('are held back once four of them wait, and let on as they are taken', async () => {
    const room = Promise.withResolvers<void>();
    const write = createLinkWriter(call, () => room.resolve());
    const answered = once(call, 'data');
    expect(write(message('0'))).toBe(true);
    await answered;
    await room.promise;
    expect([1, 2, 3, 4].map((at) => write(message(String(at))))).toEqual([true, true, true, false]);
  });

  it('let no more come once the call breaks under them: what waits is for the next one', async () => {
    const taken: number[] = [];
    const write = createLinkWriter(call, () => taken.push(arrived.length));
    const answered = once(call, 'data');
    write(message('0'));
    await answered;
    reads.pause();
    const long: ConnectRequest = {
      message: { $case: 'accepted', value: { executionId: '1', notes: ['x'.repeat(4 * 1024 * 1024)] } },
    };
    for (let at = 0; at < 4; at += 1) write(long);
    while (write(long)) await new Promise(setImmediate);
    const [broken, before] = [once(call, 'error'), taken.length];
    server.forceShutdown();
    await broken;
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    expect(taken).toHaveLength(before);
  });

  it('that come after the end of a call were not taken', async () => {
    let taken = 0;
    const write = createLinkWriter(call, () => {
      taken += 1;
    });
    const answered = once(call, 'data');
    write(message('0'));
    await answered;
    await expect.poll(() => taken).toBe(1);
    call.end();
    const failed = once(call, 'error');
    write(message('1'));
    expect(await failed).toMatchObject([{ code: 'ERR_STREAM_WRITE_AFTER_END' }]);
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    expect(taken).toBe(1);
  });

  it('that were said before the call is ended arrive before its end', async () => {
    const write = createLinkWriter(call, () => undefined);
    const answered = once(call, 'data');
    write(message('0'));
    await answered;
    const ended = once(call, 'end');
    call.resume();
    for (const name of ['1', '2']) write(message(name));
    call.end();
    await ended;
    expect(arrived).toEqual(expected.slice(0, 3));
  });
});

import { CscError } from '@csc-fleet/common/errors';
import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Connection, createConnection } from './connection.ts';

const raw = (bytes: Buffer): Buffer => bytes;
const method = {
  path: '/test/Call',
  requestSerialize: raw,
  responseDeserialize: (bytes: Buffer): string => {
    if (bytes.length === 0) throw new RangeError('nothing in it');
    return bytes.toString();
  },
};

describe('a call with one answer', () => {
  let server: Server;
  let connection: Connection;
  let port: number;
  let answer: (request: Buffer, done: sendUnaryData<Buffer>) => void;
  let cancelled: Promise<void>;

  beforeEach(async () => {
    let noteCancelled = (): void => undefined;
    cancelled = new Promise((resolve) => {
      noteCancelled = resolve;
    });
    server = new Server();
    const wire = { path: method.path, requestStream: false, responseStream: false };
    const coding = { requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw };
    server.addService(
      { call: { ...wire, ...coding, responseDeserialize: raw } },
      {
        call: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
          call.on('cancelled', noteCancelled);
          answer(call.request, done);
        },
      },
    );
    port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    connection = connectTo(port, 30_000);
    answer = (request, done) => done(null, request);
  });
  afterEach(() => {
    connection.close();
    server.forceShutdown();
  });

  function connectTo(port: number, timeoutMs: number): Connection {
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    const channel = { unreachable: 'the gate cannot be reached', advice: '' };
    return createConnection({ client, channel, explain: (error) => error }, timeoutMs);
  }

  const failure = (call: Promise<unknown>): Promise<CscError> =>
    call.then(
      () => expect.unreachable(),
      (error: unknown) => {
        expect(error).toBeInstanceOf(CscError);
        return error as CscError;
      },
    );

  it('is given its answer', async () => {
    expect(await connection.unary(method, Buffer.from('a'))).toBe('a');
    expect(connection.isAccepted()).toBe(true);
  });

  it('fails where the answer is no message of its method', async () => {
    answer = (_, done) => done(null, Buffer.alloc(0));
    const error = await failure(connection.unary(method, Buffer.from('a')));
    expect(error).toMatchObject({ code: 'INTERNAL', message: 'the answer is not a message of this method' });
  });

  it('fails with what the gate says', async () => {
    answer = (_, done) => done({ code: 8, details: 'too much' });
    const error = await failure(connection.unary(method, Buffer.from('a')));
    expect(error).toMatchObject({ code: 'MESSAGE_TOO_LARGE', message: 'too much' });
    expect(error.cause).toMatchObject({ name: 'Error', message: '8 RESOURCE_EXHAUSTED: too much' });
  });

  it('fails where the request cannot be written', async () => {
    const broken = {
      ...method,
      requestSerialize: () => {
        throw new TypeError('no message');
      },
    };
    expect(await failure(connection.unary(broken, Buffer.from('a')))).toMatchObject({ code: 'INTERNAL' });
  });

  it('fails on a connection that is closed', async () => {
    connection.close();
    expect(await failure(connection.unary(method, Buffer.from('a')))).toMatchObject({ code: 'CANCELLED' });
  });

  it('is ended where its connection is closed', async () => {
    answer = () => connection.close();
    expect(await failure(connection.unary(method, Buffer.from('a')))).toMatchObject({
      code: 'CANCELLED',
      message: 'this client has been closed',
    });
    await cancelled;
  });

  it('says how long it was waited for', async () => {
    connection.close();
    connection = connectTo(port, 50);
    answer = () => undefined;
    expect(await failure(connection.unary(method, Buffer.from('a')))).toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: 'the gate cannot be reached: no answer within 0.05 s',
    });
  });

  it('ends at both ends once its caller has enough of it', async () => {
    const enough = new AbortController();
    answer = () => enough.abort(new Error('enough'));
    const error = await failure(connection.unary(method, Buffer.from('a'), enough.signal));
    expect(error).toMatchObject({ code: 'CANCELLED', cause: { message: 'enough' } });
    await cancelled;
  });
});

import { PassThrough } from 'node:stream';
import { Client, credentials, Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { Reading, readAsAnswered } from './reading.ts';

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

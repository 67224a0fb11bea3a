// The baseline: a grpc-js server with nothing in it, over plaintext, or with mutual TLS where it is given the files of ca,
// certificate and key. Prints its port, then serves until its parent is gone.
import { readFileSync } from 'node:fs';
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
} from '@grpc/grpc-js';

const raw = (value: Buffer): Buffer => value;
const method = (path: string, responseStream: boolean) => ({
  path,
  requestStream: false,
  responseStream,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
});

const echo: handleUnaryCall<Buffer, Buffer> = (call, done) => done(null, call.request);

const stream: handleServerStreamingCall<Buffer, Buffer> = async (call) => {
  const total = Number(call.request.toString());
  const message = Buffer.alloc(64 * 1024, 1);
  for (let sent = 0; sent < total; sent += message.length) {
    if (!call.write(message)) await new Promise((resolve) => call.once('drain', resolve));
  }
  call.end();
};

function readCredentials([ca, cert, key]: readonly string[]): ServerCredentials {
  if (ca === undefined || cert === undefined || key === undefined) return ServerCredentials.createInsecure();
  const own = { cert_chain: readFileSync(cert), private_key: readFileSync(key) };
  return ServerCredentials.createSsl(readFileSync(ca), [own], true);
}

const server = new Server({ 'grpc.max_receive_message_length': 8 << 20 });
server.addService(
  { echo: method('/bare/Echo', false), stream: method('/bare/Stream', true) },
  { echo, stream },
);
server.bindAsync('127.0.0.1:0', readCredentials(process.argv.slice(2)), (error, port) => {
  if (error) throw error;
  process.stdout.write(`${port}\n`);
});
process.stdin.resume().on('end', () => process.exit(0));

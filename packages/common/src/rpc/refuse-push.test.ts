import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createDevelopmentPki } from '../pki/index.ts';
import { readChannelCredentials } from './channel-credentials.ts';
import { GateClient } from './clients.ts';
import { channelOptions } from './options.ts';

const pki = mkdtempSync(join(tmpdir(), 'csc-push-'));
const ended: (() => void)[] = [];
const file = (name: string): string => join(pki, name);

beforeAll(() => createDevelopmentPki(pki, { clients: ['agent'], executors: [] }));
afterEach(() => {
  for (const end of ended.splice(0)) end();
});
afterAll(() => rmSync(pki, { recursive: true }));

/** As RFC 9113 §4.1 has it. */
function frame(type: number, flags: number, stream: number, payload: readonly number[] = []): Buffer {
  const head = [0, 0, payload.length, type, flags, 0, 0, stream >> 8, stream & 0xff];
  return Buffer.from([...head, ...payload]);
}

const [headers, reset, settings, promise] = [1, 3, 4, 5];
const endHeaders = 4;
const acknowledged = 1;

/** The frames that a client has sent, by type and stream. */
function framesOf(bytes: Buffer): { readonly type: number | undefined; readonly stream: number }[] {
  const frames = [];
  const preface = 24;
  for (let at = preface; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3))
    frames.push({ type: bytes[at + 3], stream: bytes.readUInt32BE(at + 5) });
  return frames;
}

/** Promises a request, GET https://localhost/, and begins to answer it, so many times. */
function push(socket: TLSSocket, stream: number, count: number): void {
  for (let id = 2; id <= 2 * count; id += 2) {
    const request = [0x82, 0x87, 0x84, 0x01, 9, ...Buffer.from('localhost')];
    socket.write(frame(promise, endHeaders, stream, [0, 0, id >> 8, id & 0xff, ...request]));
    socket.write(frame(headers, endHeaders, id, [0x88]));
  }
}

/** A server that pushes a hundred streams to whoever calls it first; gives what it has heard. */
async function pushing(acknowledges: boolean) {
  const heard = { frames: [] as ReturnType<typeof framesOf>, isOver: false };
  const tls = {
    cert: readFileSync(file('gate.pem')),
    key: readFileSync(file('gate.key')),
    ALPNProtocols: ['h2'],
  };
  const server = createServer(tls, (socket) => {
    let bytes = Buffer.alloc(0);
    let isPushing = false;
    ended.push(() => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('close', () => {
      heard.isOver = true;
    });
    socket.on('data', (more) => {
      bytes = Buffer.concat([bytes, more]);
      heard.frames = framesOf(bytes);
      const call = heard.frames.find(({ type }) => type === headers);
      if (call === undefined || isPushing) return;
      isPushing = true;
      // Of its own settings, and of those that refuse pushes.
      if (acknowledges)
        socket.write(Buffer.concat([frame(settings, acknowledged, 0), frame(settings, acknowledged, 0)]));
      push(socket, call.stream, 100);
    });
    socket.write(frame(settings, 0, 0));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ended.push(() => server.close());
  return { heard, port: (server.address() as AddressInfo).port };
}

function call(port: number): void {
  const paths = { ca: file('ca.pem'), cert: file('client-agent.pem'), key: file('client-agent.key') };
  const client = new GateClient(`127.0.0.1:${port}`, readChannelCredentials(paths), channelOptions);
  ended.push(() => client.close());
  client.getKeys({ keyIds: [] }, () => undefined);
}

describe('what a server pushes', () => {
  it('ends its connection', async () => {
    const { heard, port } = await pushing(true);
    call(port);
    await expect.poll(() => heard.isOver, { timeout: 10_000 }).toBe(true);
  });

  it('is refused, stream by stream, where the server has not acknowledged that nothing is to be pushed', async () => {
    const { heard, port } = await pushing(false);
    call(port);
    const refused = () =>
      heard.frames.filter(({ type, stream }) => type === reset && stream % 2 === 0).length;
    await expect.poll(refused, { timeout: 10_000 }).toBe(100);
  });
});

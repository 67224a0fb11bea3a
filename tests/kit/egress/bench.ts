import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect as connectTo, createServer, type Server, Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import type { EgressHost } from '@csc-fleet/common/schema';
import { createAllowList } from '../../../packages/executor/src/egress/allow-list.ts';
import type { EgressLimits } from '../../../packages/executor/src/egress/front.ts';
import { createEgressProxy, type EgressProxy } from '../../../packages/executor/src/egress/proxy.ts';
import type { ResolveHost } from '../../../packages/executor/src/egress/route.ts';
import type { EgressVerdict } from '../../../packages/executor/src/egress/verdicts.ts';
import { createTestCertificate } from './certificate.ts';

/** What a server saw of a request. */
export interface SeenRequest {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

/** Two real servers, of HTTP and of TLS, on free ports of 127.0.0.1. */
export interface Upstream {
  readonly web: number;
  readonly secure: number;
  /** PEM, for the clients. */
  readonly ca: string;
  readonly seen: SeenRequest[];
  /** Answers instead of the echo; used once. */
  readonly tricks: ((request: IncomingMessage, response: ServerResponse) => void)[];
  close(): Promise<void>;
}

/** Echoes what it is asked as JSON. */
export async function startUpstream(hosts: readonly string[]): Promise<Upstream> {
  const { cert, key } = await createTestCertificate(hosts);
  const seen: SeenRequest[] = [];
  const tricks: Upstream['tricks'] = [];
  const listener = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const trick = tricks.shift();
    if (trick !== undefined) return trick(request, response);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method, url, rawHeaders } = request;
    seen.push({ method, url, rawHeaders, body: Buffer.concat(chunks).toString() });
    response.setHeader('X-Upstream', 'yes').end(JSON.stringify({ method, url }));
  };
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    listener(request, response).catch(() => response.destroy());
  };
  const web = createHttpServer(onRequest);
  const secure = createHttpsServer({ cert, key }, onRequest);
  const close = async (): Promise<void> => {
    web.closeAllConnections();
    secure.closeAllConnections();
    await Promise.all([closed(web), closed(secure)]);
  };
  return { web: await listen(web), secure: await listen(secure), ca: cert, seen, tricks, close };
}

/** What a proxy in a test may reach, and how. */
export interface BenchOptions {
  readonly lists: readonly (readonly EgressHost[])[];
  /** The addresses of names. Public ones lead to the upstream, by port 443 to the one with TLS. */
  readonly resolve: ResolveHost;
  readonly upstream: Upstream;
  readonly limits?: Partial<EgressLimits>;
}

/** A real proxy on a free port of 127.0.0.1. */
export interface Bench {
  readonly port: number;
  readonly proxy: EgressProxy;
  readonly verdicts: EgressVerdict[];
  /** What its error boundaries have caught. */
  readonly faults: unknown[];
  /** Every address that was dialled, as `ADDRESS:PORT`. */
  readonly dialled: string[];
  /** Bytes that were sent to any upstream. */
  sent(): number;
  /** Connections to upstreams that are open. */
  open(): number;
  close(): Promise<void>;
}

/** Refuses connections. */
export const deadAddress = '93.184.216.99';
/** Never answers. */
export const silentAddress = '93.184.216.98';

export async function startBench({ lists, resolve, upstream, limits = {} }: BenchOptions): Promise<Bench> {
  const verdicts: EgressVerdict[] = [];
  const faults: unknown[] = [];
  const dialled: string[] = [];
  const sockets: Socket[] = [];
  const connect = ({ address, port }: { readonly address: string; readonly port: number }): Socket => {
    dialled.push(`${address}:${port}`);
    const socket = connectAs(address, port, upstream);
    sockets.push(socket);
    return socket;
  };
  const proxy = createEgressProxy({
    allow: createAllowList(lists),
    resolve,
    connect,
    limits,
    onVerdict: (verdict) => verdicts.push(verdict),
    onFault: (error) => faults.push(error),
  });
  const server = createServer();
  proxy.serve(server);
  const port = await listen(server);
  const sent = (): number => sockets.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0);
  const openNow = (): number => sockets.filter(({ destroyed }) => !destroyed).length;
  return { port, proxy, verdicts, faults, dialled, sent, open: openNow, close: () => proxy.close() };
}

function connectAs(address: string, port: number, { web, secure }: Upstream): Socket {
  if (address === silentAddress) return new Socket();
  // Nothing listens on port 1.
  const real = address === deadAddress ? 1 : port === 443 ? secure : web;
  return connectTo({ host: '127.0.0.1', port: real, allowHalfOpen: true });
}

/** What a client does to a proxy: text and bytes are sent, a number of milliseconds is waited, `end` shuts its side down. */
export type Step = string | Buffer | number | 'end' | { readonly until: RegExp };

/** Plays a client that sends without listening, and gives all that the proxy said until it closed the connection. */
export async function talk(port: number, steps: readonly Step[]): Promise<string> {
  const socket = connectTo({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => undefined);
  socket.on('end', () => socket.end());
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  for (const step of steps) {
    if (typeof step === 'number') await sleep(step);
    else if (typeof step === 'object' && 'until' in step) {
      while (!step.until.test(Buffer.concat(chunks).toString('latin1')) && !socket.closed) await sleep(5);
    } else if (step === 'end') socket.end();
    else if (socket.writable) socket.write(step);
  }
  await gone;
  return Buffer.concat(chunks).toString('latin1');
}

/** The ClientHello of Node's TLS client; without a name it asks for none. */
export async function makeHello(servername?: string): Promise<Buffer> {
  const [near, far] = duplexPair();
  const client = connectTls({ socket: near, ...(servername === undefined ? {} : { servername }) });
  client.on('error', () => undefined);
  const hello = await new Promise<Buffer>((resolve) => far.once('data', resolve));
  client.destroy();
  far.destroy();
  return hello;
}

/** A ClientHello with one more extension. */
export function addExtension(hello: Buffer, type: number, data: Buffer): Buffer {
  const body = hello.subarray(9);
  const ciphersAt = 35 + body.readUInt8(34);
  const compressionAt = ciphersAt + 2 + body.readUInt16BE(ciphersAt);
  const extensionsAt = compressionAt + 1 + body.readUInt8(compressionAt);
  const extra = Buffer.concat([toBytes(type, 2), toBytes(data.length, 2), data]);
  const extensions = Buffer.concat([body.subarray(extensionsAt + 2), extra]);
  const message = Buffer.concat([body.subarray(0, extensionsAt), toBytes(extensions.length, 2), extensions]);
  const handshake = Buffer.concat([Buffer.from([1]), toBytes(message.length, 3), message]);
  return Buffer.concat([Buffer.from([22, 3, 1]), toBytes(handshake.length, 2), handshake]);
}

function toBytes(value: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  bytes.writeUIntBE(value, 0, length);
  return bytes;
}

/** The data of an encrypted_client_hello extension, outer: HKDF-SHA256, AES-128-GCM, and bytes that mean nothing. */
export const greaseEch = Buffer.concat([
  Buffer.from([0, 0, 1, 0, 1, 7, 0, 32]),
  Buffer.alloc(32, 5),
  Buffer.from([0, 4, 1, 2, 3, 4]),
]);

/** Cuts a TLS record into records of `size` bytes. */
export function cutRecord(record: Buffer, size: number): Buffer {
  const body = record.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < body.length; at += size) {
    const part = body.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

/** A SOCKS5 greeting without authentication. */
export const socksHello = Buffer.from([5, 1, 0]);

/** A SOCKS5 request for a name. */
export function socksConnect(name: string, port: number, command = 1): Buffer {
  const text = Buffer.from(name);
  return Buffer.concat([
    Buffer.from([5, command, 0, 3, text.length]),
    text,
    Buffer.from([port >> 8, port & 255]),
  ]);
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return (server.address() as AddressInfo).port;
}

async function closed(server: Server): Promise<void> {
  await new Promise((resolve) => {
    server.close(resolve);
  });
}

import { isUtf8 } from 'node:buffer';
import type { Socket } from 'node:net';
import type { FrontPorts, ServeHttp } from './front.ts';
import { parseHostName } from './names-and-addresses.ts';
import { type Asked, type DenialReason, refuse } from './refusal.ts';
import type { RouteResult } from './route.ts';
import { gather } from './sockets.ts';
import { serveTunnel, type Tunnel } from './tunnel.ts';

const connectCommand = 1;

/** The part of the proxy that speaks SOCKS5 (RFC 1928): CONNECT to names, for TLS and for HTTP. */
export async function serveSocks(
  { socket, first }: Tunnel['client'],
  ports: FrontPorts,
  serveHttp: ServeHttp,
): Promise<void> {
  const { log, limits } = ports;
  const deny = (asked: Asked, reason: DenialReason, answer?: Buffer): void => {
    log.deny(asked, reason);
    if (answer !== undefined && socket.writable) socket.write(answer);
    socket.destroySoon();
  };
  const shake = await readSocksHandshake(socket, { timeoutMs: limits.headerMs, first });
  if (!shake.ok) return deny({ protocol: 'socks5', host: '', port: 0 }, shake.reason, shake.answer);
  const asked = describe(shake.request);
  const found = await judge(shake.request, ports);
  if (!found.ok) {
    const { reason } = found.refusal;
    return deny(asked, reason, socksReply(replyTo(reason)));
  }
  const dialled = await ports.dial(found.route);
  if (!dialled.ok) {
    log.allow(asked);
    const code = dialled.problem === 'timeout' ? socksReplies.hostUnreachable : socksReplies.refused;
    socket.end(socksReply(code));
    return;
  }
  socket.write(socksReply(socksReplies.succeeded));
  const tunnel = { client: { socket, first: shake.rest }, upstream: dialled.socket, route: found.route };
  await serveTunnel(tunnel, asked, ports, serveHttp);
}

async function judge({ command, address, port }: SocksRequest, ports: FrontPorts): Promise<RouteResult> {
  if (command !== connectCommand) return { ok: false, refusal: refuse('socks_command') };
  if (address.kind === 'ip') return { ok: false, refusal: refuse('ip_literal') };
  const host = parseHostName(address.text);
  if (!host.ok) return { ok: false, refusal: refuse(host.problem) };
  if (port === 0) return { ok: false, refusal: refuse('bad_port') };
  return await ports.findRoute({ host: host.name, port });
}

function describe({ address, port }: SocksRequest): Asked {
  if (address.kind === 'ip') return { protocol: 'socks5', host: address.text, port };
  const host = parseHostName(address.text);
  return { protocol: 'socks5', host: host.ok ? host.name : address.text, port };
}

function replyTo(reason: DenialReason): number {
  if (reason === 'socks_command') return socksReplies.commandNotSupported;
  return reason === 'unresolvable' ? socksReplies.hostUnreachable : socksReplies.notAllowed;
}

/** A client's request and what it sent behind it; or why there is none, and what the client is told, if anything. */
type SocksHandshake =
  | { readonly ok: true; readonly request: SocksRequest; readonly rest: Buffer }
  | { readonly ok: false; readonly reason: DenialReason; readonly answer?: Buffer };

/** Goes through the handshake up to the reply (RFC 1928 §3, §4). */
async function readSocksHandshake(
  socket: Socket,
  options: { readonly timeoutMs: number; readonly first: Buffer },
): Promise<SocksHandshake> {
  const greeting = await readMessage(socket, readSocksGreeting, options);
  if (typeof greeting === 'string') return { ok: false, reason: greeting };
  if (!greeting.message.anonymous) {
    return { ok: false, reason: 'socks_authentication', answer: Buffer.from([5, 0xff]) };
  }
  socket.write(Buffer.from([5, 0]));
  const read = await readMessage(socket, readSocksRequest, { ...options, first: greeting.rest });
  if (typeof read === 'string') {
    return { ok: false, reason: read, answer: socksReply(socksReplies.failure) };
  }
  return { ok: true, request: read.message, rest: read.rest };
}

async function readMessage<T extends { readonly length: number }>(
  socket: Socket,
  read: (bytes: Buffer) => SocksRead<T>,
  options: { readonly timeoutMs: number; readonly first: Buffer },
): Promise<{ readonly message: T; readonly rest: Buffer } | 'bad_request' | 'incomplete'> {
  // No message has more than 262 bytes, so little is ever read twice.
  let bytes: Buffer = Buffer.alloc(0);
  const gathered = await gather(
    socket,
    (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      return read(bytes);
    },
    options,
  );
  if (gathered === undefined) return 'incomplete';
  const { value } = gathered;
  return value === 'malformed' ? 'bad_request' : { message: value, rest: bytes.subarray(value.length) };
}

/** A client's greeting (RFC 1928 §3). */
interface SocksGreeting {
  /** Whether it offers to go without authentication. */
  readonly anonymous: boolean;
  /** Bytes of the message. */
  readonly length: number;
}

/** What a client asks for (RFC 1928 §4). */
interface SocksRequest {
  /** 1: CONNECT, 2: BIND, 3: UDP ASSOCIATE. */
  readonly command: number;
  /** As it was sent. */
  readonly address: { readonly kind: 'name' | 'ip'; readonly text: string };
  readonly port: number;
  readonly length: number;
}

/** A message; undefined as long as it is not whole. */
type SocksRead<T> = T | 'malformed' | undefined;

export const socksVersion = 5;
const anonymousMethod = 0;

/** Reads a greeting off the front of bytes. */
export function readSocksGreeting(bytes: Buffer): SocksRead<SocksGreeting> {
  const [version = socksVersion, methods] = bytes;
  if (version !== socksVersion || methods === 0) return 'malformed';
  if (methods === undefined || bytes.length < 2 + methods) return undefined;
  const length = 2 + methods;
  return { anonymous: bytes.subarray(2, length).includes(anonymousMethod), length };
}

/** Reads a request off the front of bytes. */
export function readSocksRequest(bytes: Buffer): SocksRead<SocksRequest> {
  const [version = socksVersion, command, reserved = 0, type] = bytes;
  if (version !== socksVersion || reserved !== 0) return 'malformed';
  if (command === undefined || type === undefined) return undefined;
  const addressLength = addressBytes(type, bytes[4]);
  if (addressLength === 'malformed') return 'malformed';
  if (addressLength === undefined || bytes.length < 4 + addressLength + 2) return undefined;
  const end = 4 + addressLength;
  const address = readAddress(type, bytes.subarray(4, end));
  return { command, address, port: bytes.readUInt16BE(end), length: end + 2 };
}

// Its length before a name counts as part of it.
function addressBytes(type: number, first: number | undefined): number | 'malformed' | undefined {
  if (type === 1) return 4;
  if (type === 4) return 16;
  if (type !== 3) return 'malformed';
  return first === undefined ? undefined : 1 + first;
}

function readAddress(type: number, bytes: Buffer): SocksRequest['address'] {
  if (type === 1) return { kind: 'ip', text: bytes.join('.') };
  if (type === 4) return { kind: 'ip', text: bytes.toString('hex').replace(/(.{4})(?!$)/g, '$1:') };
  const name = bytes.subarray(1);
  return { kind: 'name', text: name.toString(isUtf8(name) ? 'utf8' : 'latin1') };
}

/** The codes of RFC 1928 §6 that are used. */
const socksReplies = {
  succeeded: 0,
  failure: 1,
  notAllowed: 2,
  hostUnreachable: 4,
  refused: 5,
  commandNotSupported: 7,
} as const;

/** A reply to a request. Which address the proxy itself dialled from is not said. */
function socksReply(code: number): Buffer {
  return Buffer.from([socksVersion, code, 0, 1, 0, 0, 0, 0, 0, 0]);
}

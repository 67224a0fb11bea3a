import type { Socket } from 'node:net';
import { type ClientHello, createClientHelloReader } from './client-hello.ts';
import type { FrontPorts, HttpTunnel, ServeHttp } from './front.ts';
import { findConnectProblem, type RequestHead } from './http-head.ts';
import { parseAuthority, parseHostName } from './names-and-addresses.ts';
import {
  type Asked,
  connectRefusalResponse,
  type DenialReason,
  describeAuthority,
  type EgressProtocol,
  type Refusal,
  refuse,
  respondRaw,
  unreachableResponse,
} from './refusal.ts';
import type { Route } from './route.ts';
import { gather, relay } from './sockets.ts';

/** A CONNECT request (RFC 9110 §9.3.6), as Node's server hands it over. */
interface ConnectRequest {
  readonly head: RequestHead;
  readonly socket: Socket;
  /** What came behind the request. */
  readonly first: Buffer;
}

/** Judges a CONNECT, answers it, and serves the tunnel. */
export async function connectTunnel(
  request: ConnectRequest,
  ports: FrontPorts,
  serveHttp: ServeHttp,
): Promise<void> {
  const { head, socket } = request;
  const { log } = ports;
  const asked: Asked = { protocol: 'connect', ...describeAuthority(head.url) };
  const deny = (refusal: Refusal): void => {
    log.deny(asked, refusal.reason);
    respondRaw(socket, connectRefusalResponse(refusal, asked));
  };
  const place = parseAuthority(head.url);
  if (!place.ok) return deny(refuse(place.problem));
  const target = { host: place.name, port: place.port };
  const problem = findConnectProblem(head, target);
  if (problem !== undefined) return deny(refuse(problem));
  const found = await ports.findRoute(target);
  if (!found.ok) return deny(found.refusal);
  const dialled = await ports.dial(found.route);
  if (!dialled.ok) {
    log.allow(asked);
    return respondRaw(socket, unreachableResponse(dialled));
  }
  socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
  const tunnel = { client: { socket, first: request.first }, upstream: dialled.socket, route: found.route };
  await serveTunnel(tunnel, asked, ports, serveHttp);
}

/** A client and the host that it asked for, connected and not joined. */
export interface Tunnel {
  /** `first` is what it has sent and nobody has read. */
  readonly client: { readonly socket: Socket; readonly first: Buffer };
  readonly upstream: Socket;
  readonly route: Route;
}

const tlsHandshake = 22;
// Longer than any method of HTTP that Node's parser knows.
const longestMethod = 24;
const methodByte = /^[A-Z-]$/;

/**
 * Serves a tunnel that was granted and connected, however it was asked for: TLS, whose ClientHello must ask for its host,
 * or plain HTTP, whose every request must. Which of the two it is shows in the first bytes. To a `NAME:tcp:PORT` of both
 * lists it is whatever it is.
 */
export async function serveTunnel(
  tunnel: Tunnel,
  asked: Asked,
  ports: FrontPorts,
  serveHttp: ServeHttp,
): Promise<void> {
  const { client, upstream, route } = tunnel;
  const { socket, first } = client;
  if (route.tcp) {
    // Its server may be the one to speak first.
    ports.log.allow(asked);
    return relay(socket, upstream, first, ports.limits.idleMs);
  }
  const sniffed = await gather(socket, createSniffer(), { timeoutMs: ports.limits.headerMs, first });
  const spoken = { socket, first: sniffed?.bytes ?? first };
  if (sniffed?.value === 'tls') await serveTls({ ...tunnel, client: spoken }, asked, ports);
  else if (sniffed?.value === 'http')
    serveHttp(socket, spoken.first, toHttpTunnel(route, upstream, asked.protocol, ports));
  else {
    ports.log.deny(asked, sniffed === undefined ? 'incomplete' : 'not_tls');
    upstream.destroy();
    socket.destroySoon();
  }
}

// A request begins with its method and a space, in capitals: what Node's parser does not know of those, it refuses.
function createSniffer(): (chunk: Buffer) => 'tls' | 'http' | 'other' | undefined {
  let length = 0;
  return (chunk) => {
    for (const byte of chunk) {
      if (length === 0 && byte === tlsHandshake) return 'tls';
      if (length > 0 && byte === 0x20) return 'http';
      if (length >= longestMethod || !methodByte.test(String.fromCharCode(byte))) return 'other';
      length += 1;
    }
    return undefined;
  };
}

// The connection that the answer spoke of serves the first request, and new ones to the same addresses the others.
function toHttpTunnel(route: Route, first: Socket, protocol: EgressProtocol, ports: FrontPorts): HttpTunnel {
  let spare: Socket | undefined = first;
  return {
    protocol,
    target: route,
    async dial() {
      const socket = spare;
      spare = undefined;
      const isUsable = socket?.writable === true && !socket.readableEnded;
      return isUsable ? { ok: true, socket } : await ports.dial(route);
    },
    close: () => void spare?.destroy(),
  };
}

/**
 * Reads a TLS ClientHello off a tunnel and holds its server name against the host that the tunnel was asked for: joins
 * the two where they are the same, and ends both where they are not. Nothing of it has gone on by then.
 */
async function serveTls(tunnel: Tunnel, asked: Asked, ports: FrontPorts): Promise<void> {
  const { client, upstream } = tunnel;
  const { log, limits } = ports;
  try {
    const words = await readHello(tunnel, limits.headerMs);
    if (words.ok) {
      log.allow(asked);
      return relay(client.socket, upstream, words.bytes, limits.idleMs);
    }
    log.deny(asked, words.reason);
    upstream.destroy();
    endTunnel(client.socket, words.reason);
  } catch (error) {
    upstream.destroy();
    throw error;
  }
}

/** What the client of a tunnel sent first. */
type FirstWords =
  | { readonly ok: true; readonly bytes: Buffer }
  | { readonly ok: false; readonly reason: DenialReason };

async function readHello({ client, route }: Tunnel, timeoutMs: number): Promise<FirstWords> {
  const reader = createClientHelloReader();
  const { socket, first } = client;
  const gathered = await gather(socket, (chunk) => settled(reader.push(chunk)), { timeoutMs, first });
  if (gathered === undefined) return { ok: false, reason: 'incomplete' };
  const reason = findProblem(gathered.value, route);
  return reason === undefined ? { ok: true, bytes: gathered.bytes } : { ok: false, reason };
}

function settled(hello: ClientHello): ClientHello | undefined {
  return hello.kind === 'incomplete' ? undefined : hello;
}

function findProblem(hello: ClientHello, { host, ech }: Route): DenialReason | undefined {
  if (hello.kind === 'not_tls') return 'not_tls';
  if (hello.kind !== 'hello') return 'malformed_tls';
  if (hello.serverName === undefined) return 'no_sni';
  const name = parseHostName(hello.serverName);
  if (!name.ok || name.name !== host) return 'sni_mismatch';
  return hello.isEncrypted && !ech ? 'ech' : undefined;
}

const alerts: Partial<Record<DenialReason, number>> = {
  malformed_tls: 50, // decode_error
  no_sni: 109, // missing_extension
  sni_mismatch: 112, // unrecognized_name
  ech: 49, // access_denied
};

/**
 * Ends a tunnel whose client was refused, in TLS's own words where it speaks TLS: a fatal alert (RFC 8446 §6), so that
 * it has something to report.
 */
function endTunnel(client: Socket, reason: DenialReason): void {
  const alert = alerts[reason];
  if (alert !== undefined && client.writable) client.write(Buffer.from([21, 3, 3, 0, 2, 2, alert]));
  client.destroySoon();
}

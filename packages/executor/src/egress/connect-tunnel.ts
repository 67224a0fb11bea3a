import type { Socket } from 'node:net';
import type { ProxyContext } from './context.ts';
import { refusalResponse, unreachableResponse } from './denial-response.ts';
import { parseAuthority } from './host-name.ts';
import { type Refusal, refuse } from './refusal.ts';
import { relay } from './relay.ts';
import { respondRaw } from './respond-raw.ts';
import { checkHello, endTunnel } from './tls-tunnel.ts';
import { type Asked, describeAuthority } from './verdict-log.ts';

/** A CONNECT request (RFC 9110 §9.3.6), as Node's server hands it over. */
export interface ConnectRequest {
  /** `HOST:PORT`, as it was sent. */
  readonly authority: string;
  readonly socket: Socket;
  /** What came behind the request. */
  readonly head: Buffer;
}

/** Judges a CONNECT, answers it, and lets the tunnel's bytes through once its ClientHello has been judged as well. */
export async function connectTunnel(request: ConnectRequest, context: ProxyContext): Promise<void> {
  const { authority, socket, head } = request;
  const { log, limits } = context;
  const asked: Asked = { protocol: 'connect', ...describeAuthority(authority) };
  const deny = (refusal: Refusal): void => {
    log.deny(asked, refusal.reason);
    respondRaw(socket, refusalResponse(refusal, asked));
  };
  const place = parseAuthority(authority);
  if (!place.ok) return deny(refuse(place.problem));
  const host = place.name;
  const found = await context.findRoute({ host, port: place.port });
  if (!found.ok) return deny(found.refusal);
  const dialled = await context.dial(found.route);
  if (!dialled.ok) {
    log.allow(asked);
    return respondRaw(socket, unreachableResponse(dialled));
  }
  socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
  const words = await checkHello(socket, host, { timeoutMs: limits.headerMs, first: head });
  if (words.ok) {
    log.allow(asked);
    return relay(socket, dialled.socket, words.bytes, limits.idleMs);
  }
  log.deny(asked, words.reason);
  dialled.socket.destroy();
  endTunnel(socket, words.reason);
}

import type { Socket } from 'node:net';
import type { ProxyContext } from './context.ts';
import { refusalResponse, unreachableResponse } from './denial-response.ts';
import { parseAuthority } from './host-name.ts';
import { findConnectProblem, type RequestHead } from './http-target.ts';
import { type Refusal, refuse } from './refusal.ts';
import { respondRaw } from './respond-raw.ts';
import { serveTls } from './tls-tunnel.ts';
import { type Asked, describeAuthority } from './verdict-log.ts';

/** A CONNECT request (RFC 9110 §9.3.6), as Node's server hands it over. */
export interface ConnectRequest {
  readonly head: RequestHead;
  readonly socket: Socket;
  /** What came behind the request. */
  readonly first: Buffer;
}

/** Judges a CONNECT, answers it, and lets the tunnel's bytes through once its ClientHello has been judged as well. */
export async function connectTunnel(request: ConnectRequest, context: ProxyContext): Promise<void> {
  const { head, socket } = request;
  const { log } = context;
  const asked: Asked = { protocol: 'connect', ...describeAuthority(head.url) };
  const deny = (refusal: Refusal): void => {
    log.deny(asked, refusal.reason);
    respondRaw(socket, refusalResponse(refusal, asked));
  };
  const place = parseAuthority(head.url);
  if (!place.ok) return deny(refuse(place.problem));
  const target = { host: place.name, port: place.port };
  const problem = findConnectProblem(head, target);
  if (problem !== undefined) return deny(refuse(problem));
  const found = await context.findRoute(target);
  if (!found.ok) return deny(found.refusal);
  const dialled = await context.dial(found.route);
  if (!dialled.ok) {
    log.allow(asked);
    return respondRaw(socket, unreachableResponse(dialled));
  }
  socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
  const tunnel = { client: { socket, first: request.first }, upstream: dialled.socket, route: found.route };
  await serveTls(tunnel, asked, context);
}

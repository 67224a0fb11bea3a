import type { Socket } from 'node:net';
import type { HttpTunnel, ProxyContext, ServeHttp } from './context.ts';
import { gather } from './gather.ts';
import { parseHostName } from './host-name.ts';
import { type DenialReason, refuse } from './refusal.ts';
import type { Route, RouteResult } from './route.ts';
import { readSocksHandshake } from './socks-handshake.ts';
import { type SocksRequest, socksReplies, socksReply } from './socks-message.ts';
import { serveTls, type Tunnel } from './tls-tunnel.ts';
import type { Asked } from './verdict-log.ts';

const connectCommand = 1;
const tlsHandshake = 22;

/** The part of the proxy that speaks SOCKS5 (RFC 1928): CONNECT to names, for TLS and for HTTP. */
export async function serveSocks(
  { socket, first }: Tunnel['client'],
  context: ProxyContext,
  serveHttp: ServeHttp,
): Promise<void> {
  const { log, limits } = context;
  const deny = (asked: Asked, reason: DenialReason, answer?: Buffer): void => {
    log.deny(asked, reason);
    if (answer !== undefined && socket.writable) socket.write(answer);
    socket.destroySoon();
  };
  const shake = await readSocksHandshake(socket, { timeoutMs: limits.headerMs, first });
  if (!shake.ok) return deny({ protocol: 'socks5', host: '', port: 0 }, shake.reason, shake.answer);
  const asked = describe(shake.request);
  const found = await judge(shake.request, context);
  if (!found.ok) {
    const { reason } = found.refusal;
    return deny(asked, reason, socksReply(replyTo(reason)));
  }
  const dialled = await context.dial(found.route);
  if (!dialled.ok) {
    log.allow(asked);
    const code = dialled.problem === 'timeout' ? socksReplies.hostUnreachable : socksReplies.refused;
    socket.end(socksReply(code));
    return;
  }
  socket.write(socksReply(socksReplies.succeeded));
  const tunnel = { client: { socket, first: shake.rest }, upstream: dialled.socket, route: found.route };
  await serveTunnel(tunnel, asked, context, serveHttp);
}

// Which of the two it is shows in the first byte.
async function serveTunnel(
  { client, upstream, route }: Tunnel,
  asked: Asked,
  context: ProxyContext,
  serveHttp: ServeHttp,
): Promise<void> {
  const { socket, first } = client;
  const timeoutMs = context.limits.headerMs;
  const sniffed = await gather(socket, ([byte]) => byte, { timeoutMs, first });
  if (sniffed === undefined) {
    context.log.deny(asked, 'incomplete');
    upstream.destroy();
    socket.destroySoon();
  } else if (sniffed.value === tlsHandshake) {
    await serveTls({ client: { socket, first: sniffed.bytes }, upstream, route }, asked, context);
  } else serveHttp(socket, sniffed.bytes, toHttpTunnel(route, upstream, context));
}

// The connection that the reply spoke of serves the first request, and new ones to the same addresses the others.
function toHttpTunnel(route: Route, first: Socket, context: ProxyContext): HttpTunnel {
  let spare: Socket | undefined = first;
  return {
    target: route,
    async dial() {
      const socket = spare;
      spare = undefined;
      const isUsable = socket?.writable === true && !socket.readableEnded;
      return isUsable ? { ok: true, socket } : await context.dial(route);
    },
    close: () => void spare?.destroy(),
  };
}

async function judge({ command, address, port }: SocksRequest, context: ProxyContext): Promise<RouteResult> {
  if (command !== connectCommand) return { ok: false, refusal: refuse('socks_command') };
  if (address.kind === 'ip') return { ok: false, refusal: refuse('ip_literal') };
  const host = parseHostName(address.text);
  if (!host.ok) return { ok: false, refusal: refuse(host.problem) };
  if (port === 0) return { ok: false, refusal: refuse('bad_port') };
  return await context.findRoute({ host: host.name, port });
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

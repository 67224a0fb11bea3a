import type { HttpTunnel, ProxyContext } from './context.ts';
import { refusalResponse, unreachableResponse } from './denial-response.ts';
import type { Dialled } from './dial.ts';
import { type Exchange, forward, respond } from './http-forward.ts';
import { describeTarget, type HostPort, readHttpTarget, toHead } from './http-target.ts';
import type { Refusal } from './refusal.ts';
import type { Asked } from './verdict-log.ts';

/** Judges one HTTP request and answers it: with what its host says, or with why it was not asked. */
export async function answerRequest(
  exchange: Exchange,
  tunnel: HttpTunnel | undefined,
  context: ProxyContext,
): Promise<void> {
  const { request, response } = exchange;
  const head = toHead(request);
  const asked: Asked = {
    protocol: tunnel === undefined ? 'http' : 'socks5',
    ...describeTarget(head, tunnel?.target),
  };
  const deny = (refusal: Refusal): void => {
    context.log.deny(asked, refusal.reason);
    respond(response, refusalResponse(refusal, asked));
  };
  const read = readHttpTarget(head, tunnel?.target);
  if (!read.ok) return deny(read.refusal);
  const way = await openWay(read.target, tunnel, context);
  if ('refusal' in way) return deny(way.refusal);
  context.log.allow(asked);
  const dialled = await way.dial();
  if (!dialled.ok) return respond(response, unreachableResponse(dialled));
  if (response.destroyed) return void dialled.socket.destroy();
  if (request.headers.expect !== undefined) response.writeContinue();
  forward(exchange, read.target, dialled.socket, context);
}

/** How the host of a request is reached, or why it may not be. */
type Way = { readonly dial: () => Promise<Dialled> } | { readonly refusal: Refusal };

// A tunnel's host was judged when the tunnel was made, and that this request is for it just now.
async function openWay(
  target: HostPort,
  tunnel: HttpTunnel | undefined,
  context: ProxyContext,
): Promise<Way> {
  if (tunnel !== undefined) return { dial: () => tunnel.dial() };
  const found = await context.findRoute(target);
  return found.ok ? { dial: () => context.dial(found.route) } : { refusal: found.refusal };
}

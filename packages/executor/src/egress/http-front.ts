import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connectTunnel } from './connect-tunnel.ts';
import type { HttpTunnel, ProxyContext, ServeHttp } from './context.ts';
import { refusalResponse } from './denial-response.ts';
import { answerRequest } from './http-answer.ts';
import { toHead } from './http-target.ts';
import { type DenialReason, refuse } from './refusal.ts';
import { RequestQueue } from './request-queue.ts';
import { respondRaw } from './respond-raw.ts';
import { type Asked, describeAuthority } from './verdict-log.ts';

/** What is known of a connection whose client speaks HTTP. */
interface Client {
  readonly queue: RequestQueue;
  readonly tunnel: HttpTunnel | undefined;
}

/**
 * The part of the proxy that speaks HTTP/1.1 to clients. Node's parser reads the requests, strictly; every one of a
 * connection is judged on its own.
 */
export function createHttpFront(context: ProxyContext): ServeHttp {
  const clients = new WeakMap<object, Client>();
  const server = createParser(context);
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const { queue, tunnel } = clients.get(request.socket) ?? {};
    // Either may fail when nobody waits for it any more; `close` always follows.
    for (const side of [request, response]) side.on('error', () => undefined);
    const answer = context.guard([request.socket], () =>
      answerRequest({ request, response }, tunnel, context),
    );
    queue?.add(response, answer);
  };
  // All of them, as Node would answer some by itself.
  for (const event of ['request', 'checkContinue', 'checkExpectation']) server.on(event, onRequest);
  // Once: whatever such a client goes on to send is nobody's request.
  const refuseClient = (socket: Socket, reason: DenialReason, asked: Asked): void => {
    clients.delete(socket);
    context.log.deny(asked, reason);
    respondRaw(socket, refusalResponse(refuse(reason), asked));
  };
  const onConnect = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const client = clients.get(socket);
    if (client === undefined || !(socket instanceof Socket)) return void socket.destroy();
    const isNext = client.queue.leave() && client.tunnel === undefined;
    if (isNext) return await connectTunnel({ head: toHead(request), socket, first: head }, context);
    // Within a tunnel it leads elsewhere; and its 200 would come between the answers to others.
    refuseClient(socket, 'bad_request', { ...describeAuthority(request.url ?? ''), protocol: 'connect' });
  };
  server.on('connect', (request, socket, head) => context.guard([socket], onConnect)(request, socket, head));
  const onClientError = ({ code }: NodeJS.ErrnoException, socket: Duplex): void => {
    const client = clients.get(socket);
    if (client === undefined) return;
    const reason = toReason(code);
    if (!(socket instanceof Socket) || reason === undefined) return void socket.destroy();
    // What is being answered is broken off: words of ours would come in the middle of it.
    if (!client.queue.leave()) socket.destroy();
    refuseClient(socket, reason, toAsked(client.tunnel));
  };
  server.on('clientError', (error, socket) => context.guard([socket], onClientError)(error, socket));
  return (socket, first, tunnel) => {
    const onLate = context.guard([socket], () => refuseClient(socket, 'incomplete', toAsked(tunnel)));
    clients.set(socket, { queue: new RequestQueue(socket, context.limits.headerMs, onLate), tunnel });
    socket.once('close', () => tunnel?.close());
    socket.unshift(first);
    server.emit('connection', socket);
    socket.resume();
  };
}

// It never listens: connections are handed to it.
function createParser({ limits }: ProxyContext): ReturnType<typeof createServer> {
  const server = createServer({
    maxHeaderSize: limits.headerBytes,
    insecureHTTPParser: false,
    // Judged later, so that it is logged.
    requireHostHeader: false,
    // Node looks at its own times only where it listens; RequestQueue has ours.
    keepAliveTimeout: 0,
  });
  // By default Node would hide all headers beyond 2000 from us, on which its parser acts nevertheless.
  server.maxHeadersCount = 0;
  // A client that has said all may shut its side down and still gets its answers; there is no option for it.
  Object.assign(server, { httpAllowHalfOpen: true });
  return server;
}

// What the parser has refused. Undefined: the connection broke off between requests.
function toReason(code = ''): DenialReason | undefined {
  if (code === 'HPE_HEADER_OVERFLOW') return 'header_too_long';
  if (code === 'HPE_INVALID_EOF_STATE') return 'incomplete';
  return code.startsWith('HPE_') ? 'bad_request' : undefined;
}

function toAsked(tunnel: HttpTunnel | undefined): Asked {
  return tunnel === undefined
    ? { protocol: 'http', host: '', port: 0 }
    : { protocol: 'socks5', host: tunnel.target.host, port: tunnel.target.port };
}

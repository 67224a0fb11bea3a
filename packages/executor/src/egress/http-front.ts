import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FrontPorts, HttpTunnel, ServeHttp } from './front.ts';
import { answerRequest } from './http-answer.ts';
import { describeTarget, toHead } from './http-head.ts';
import {
  type Asked,
  type DenialReason,
  describeAuthority,
  refusalResponse,
  refuse,
  respondRaw,
} from './refusal.ts';
import { connectTunnel } from './tunnel.ts';
import { answerUpgrade } from './websocket.ts';

/** What is known of a connection whose client speaks HTTP. */
interface Client {
  readonly queue: RequestQueue;
  readonly tunnel: HttpTunnel | undefined;
}

/**
 * The part of the proxy that speaks HTTP/1.1 to clients. Node's parser reads the requests, strictly; every one of a
 * connection is judged on its own.
 */
export function createHttpFront(ports: FrontPorts): ServeHttp {
  const clients = new WeakMap<object, Client>();
  const server = createParser(ports);
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const { queue, tunnel } = clients.get(request.socket) ?? {};
    // Either may fail when nobody waits for it any more; `close` always follows.
    for (const side of [request, response]) side.on('error', () => undefined);
    const answer = ports.guard([request.socket], () => answerRequest({ request, response }, tunnel, ports));
    queue?.add(response, answer);
  };
  // All of them, as Node would answer some by itself.
  for (const event of ['request', 'checkContinue', 'checkExpectation']) server.on(event, onRequest);
  // Once: whatever such a client goes on to send is nobody's request.
  const refuseClient = (socket: Socket, reason: DenialReason, asked: Asked): void => {
    clients.delete(socket);
    ports.log.deny(asked, reason);
    respondRaw(socket, refusalResponse(refuse(reason), asked));
  };
  const onConnect = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const client = clients.get(socket);
    if (client === undefined || !(socket instanceof Socket)) return void socket.destroy();
    const isNext = client.queue.leave() && client.tunnel === undefined;
    if (isNext) return await connectTunnel({ head: toHead(request), socket, first: head }, ports, serveHttp);
    // Within a tunnel it leads elsewhere; and its 200 would come between the answers to others.
    refuseClient(socket, 'bad_request', { ...describeAuthority(request.url ?? ''), protocol: 'connect' });
  };
  server.on('connect', (request, socket, head) => ports.guard([socket], onConnect)(request, socket, head));
  const onUpgrade = async (request: IncomingMessage, socket: Duplex, first: Buffer): Promise<void> => {
    const client = clients.get(socket);
    if (client === undefined || !(socket instanceof Socket)) return void socket.destroy();
    const { queue, tunnel } = client;
    if (queue.leave()) return await answerUpgrade({ request, socket, first }, tunnel, ports);
    // Its answer would come between the answers to others.
    const target = describeTarget(toHead(request), tunnel?.target);
    refuseClient(socket, 'upgrade', { protocol: tunnel?.protocol ?? 'http', ...target });
  };
  server.on('upgrade', (request, socket, head) => ports.guard([socket], onUpgrade)(request, socket, head));
  const onClientError = ({ code }: NodeJS.ErrnoException, socket: Duplex): void => {
    const client = clients.get(socket);
    if (client === undefined) return;
    const reason = toReason(code);
    if (!(socket instanceof Socket) || reason === undefined) return void socket.destroy();
    // What is being answered is broken off: words of ours would come in the middle of it.
    if (!client.queue.leave()) socket.destroy();
    refuseClient(socket, reason, toAsked(client.tunnel));
  };
  server.on('clientError', (error, socket) => ports.guard([socket], onClientError)(error, socket));
  const serveHttp: ServeHttp = (socket, first, tunnel) => {
    const onLate = ports.guard([socket], () => refuseClient(socket, 'incomplete', toAsked(tunnel)));
    clients.set(socket, { queue: new RequestQueue(socket, ports.limits.headerMs, onLate), tunnel });
    socket.once('close', () => tunnel?.close());
    socket.unshift(first);
    server.emit('connection', socket);
    socket.resume();
  };
  return serveHttp;
}

// It never listens: connections are handed to it.
function createParser({ limits }: FrontPorts): ReturnType<typeof createServer> {
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
    : { protocol: tunnel.protocol, host: tunnel.target.host, port: tunnel.target.port };
}

// Pipelined requests wait as parsed objects: of more than these a client has no use.
const longestQueue = 16;

/** The requests of one connection, answered one after the other, and the time that a client may take between them. */
class RequestQueue {
  readonly #socket: Socket;
  readonly #headerMs: number;
  readonly #onLate: () => void;
  readonly #waiting: { readonly response: ServerResponse; readonly work: () => void }[] = [];
  #busy = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param onLate called where a request was begun and is not whole within `headerMs`; must not throw */
  constructor(socket: Socket, headerMs: number, onLate: () => void) {
    this.#socket = socket;
    this.#headerMs = headerMs;
    this.#onLate = onLate;
    socket.once('close', () => this.leave());
    this.#await(0);
  }

  /**
   * Does the work for one request in its turn; the next one's comes when its response is closed.
   * @param work must not throw
   */
  add(response: ServerResponse, work: () => void): void {
    clearTimeout(this.#timer);
    if (this.#waiting.length >= longestQueue) this.#socket.destroy();
    this.#waiting.push({ response, work });
    if (!this.#busy) this.#next();
  }

  /** The connection is no longer one of requests. False where one of them is not answered yet. */
  leave(): boolean {
    clearTimeout(this.#timer);
    return !this.#busy;
  }

  #next(): void {
    const next = this.#waiting.shift();
    this.#busy = next !== undefined;
    if (next === undefined) this.#await(this.#socket.bytesRead);
    else if (next.response.destroyed || !this.#socket.writable) this.#waiting.length = 0;
    else {
      next.response.once('close', () => this.#next());
      next.work();
    }
  }

  #await(bytesBefore: number): void {
    if (this.#socket.destroyed) return;
    this.#timer = setTimeout(() => {
      if (this.#socket.bytesRead > bytesBefore) this.#onLate();
      else this.#socket.destroy();
    }, this.#headerMs);
  }
}

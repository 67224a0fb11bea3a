import { createHash } from 'node:crypto';
import { type IncomingMessage, ServerResponse, request as sendRequest } from 'node:http';
import type { Socket } from 'node:net';
import type { FrontPorts, HttpTunnel } from './front.ts';
import { maxAnswerHeader, passAnswer } from './http-answer.ts';
import {
  endToEndHeaders,
  type HostPort,
  type HttpTarget,
  type HttpTargetResult,
  headerValues,
  isWebSocketRequest,
  type RequestHead,
  readHttpTarget,
  toRaw,
} from './http-head.ts';
import { reachHost } from './reach-host.ts';
import { badAnswerResponse, type OwnResponse, refuse, respondRaw } from './refusal.ts';
import { relay } from './sockets.ts';

/** A request that wants its connection upgraded, as Node's server hands it over. */
interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** What came behind it. Nothing of it goes on before the server has agreed. */
  readonly first: Buffer;
}

/**
 * Judges the handshake of a WebSocket (RFC 6455 §4) as any other request, and joins client and server once the server has
 * answered it: with 101, and the proof that it is a WebSocket that it speaks. Another answer is passed on as it is. What
 * else a connection may be upgraded to is refused.
 */
export async function answerUpgrade(
  upgrade: UpgradeRequest,
  tunnel: HttpTunnel | undefined,
  ports: FrontPorts,
): Promise<void> {
  const { request, socket } = upgrade;
  const reached = await reachHost(request, tunnel, ports, {
    readTarget: (head, fixed) => (request.method === 'GET' ? readHandshake(head, fixed) : notWebSocket()),
    refuse: (refusal) => respondRaw(socket, refusal),
  });
  if (reached === undefined) return;
  const { target, socket: upstream } = reached;
  if (socket.destroyed) return void upstream.destroy();
  ports.guard([upstream, socket], () => shakeHands(upgrade, target, upstream, ports))();
}

function readHandshake(head: RequestHead, fixed?: HostPort): HttpTargetResult {
  if (!isWebSocketRequest(head)) return notWebSocket();
  const read = readHttpTarget(head, fixed, 'websocket');
  return read.ok && read.target.framing !== 'none' ? notWebSocket() : read;
}

function notWebSocket(): HttpTargetResult {
  return { ok: false, refusal: refuse('upgrade') };
}

function shakeHands(
  { request, socket, first }: UpgradeRequest,
  target: HttpTarget,
  upstreamSocket: Socket,
  { guard, limits }: FrontPorts,
): void {
  const both = [upstreamSocket, socket];
  const upstream = sendRequest({
    createConnection: () => upstreamSocket,
    method: 'GET',
    path: target.path,
    headers: toRaw([
      ['Host', target.port === 80 ? target.host : `${target.host}:${target.port}`],
      ...endToEndHeaders(request.rawHeaders),
      ['Upgrade', 'websocket'],
      ['Connection', 'Upgrade'],
    ]),
    setHost: false,
    insecureHTTPParser: false,
    maxHeaderSize: maxAnswerHeader,
  });
  let isAnswered = false;
  const answerOnce = (response: OwnResponse): void => {
    if (!isAnswered) respondRaw(socket, response);
    isAnswered = true;
  };
  upstream.once('socket', () => upstreamSocket.resume());
  upstream.on(
    'upgrade',
    guard(both, (answer: IncomingMessage, _: unknown, head: Buffer) => {
      if (!isAgreed(request, answer)) {
        upstreamSocket.destroy();
        return answerOnce(badAnswerResponse());
      }
      isAnswered = true;
      socket.write(switching(answer));
      if (head.length > 0) upstreamSocket.unshift(head);
      relay(socket, upstreamSocket, first, limits.idleMs);
    }),
  );
  upstream.on(
    'response',
    guard(both, (answer: IncomingMessage) => {
      isAnswered = true;
      passRaw(answer, request, socket);
    }),
  );
  const onFailed = guard(both, () => answerOnce(badAnswerResponse()));
  upstream.on('error', onFailed);
  upstream.once('close', () => {
    if (!isAnswered) upstreamSocket.destroy();
    onFailed();
  });
  socket.once('close', () => upstreamSocket.destroy());
  upstream.end();
}

const webSocketGuid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

// RFC 6455 §4.2.2: a server that took it for an ordinary request cannot say this, and goes on to read requests: what the
// client sends next would be some that nobody has judged.
function isAgreed(request: IncomingMessage, { statusCode, rawHeaders }: IncomingMessage): boolean {
  const [key = ''] = headerValues(request.rawHeaders, 'sec-websocket-key');
  const proof = createHash('sha1').update(`${key}${webSocketGuid}`).digest('base64');
  const said = headerValues(rawHeaders, 'sec-websocket-accept');
  const upgrade = headerValues(rawHeaders, 'upgrade');
  const isWebSocket = upgrade.length === 1 && upgrade[0]?.toLowerCase() === 'websocket';
  return statusCode === 101 && isWebSocket && said.length === 1 && said[0] === proof;
}

function switching({ rawHeaders }: IncomingMessage): Buffer {
  const raw = toRaw([...endToEndHeaders(rawHeaders), ['Upgrade', 'websocket'], ['Connection', 'Upgrade']]);
  const lines = raw.flatMap((name, index) => (index % 2 === 0 ? [`${name}: ${raw[index + 1]}\r\n`] : []));
  return Buffer.from(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`, 'latin1');
}

// No HTTP server writes to this connection any more. It ends with the answer.
function passRaw(answer: IncomingMessage, request: IncomingMessage, socket: Socket): void {
  const response = new ServerResponse(request);
  response.on('error', () => undefined);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once('finish', () => {
    response.detachSocket(socket);
    socket.destroySoon();
  });
  passAnswer(answer, response);
}

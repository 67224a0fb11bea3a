import { type IncomingMessage, type ServerResponse, STATUS_CODES, request as sendRequest } from 'node:http';
import type { Socket } from 'node:net';
import type { FrontPorts, HttpTunnel } from './front.ts';
import {
  endToEndHeaders,
  type Header,
  type HttpTarget,
  headerValues,
  readHttpTarget,
  toRaw,
  toWritable,
} from './http-head.ts';
import { reachHost } from './reach-host.ts';
import { badAnswerResponse, type OwnResponse } from './refusal.ts';

/** Judges one HTTP request and answers it: with what its host says, or with why it was not asked. */
export async function answerRequest(
  exchange: Exchange,
  tunnel: HttpTunnel | undefined,
  ports: FrontPorts,
): Promise<void> {
  const { request, response } = exchange;
  const reached = await reachHost(request, tunnel, ports, {
    readTarget: readHttpTarget,
    refuse: (refusal) => respond(response, refusal),
  });
  if (reached === undefined) return;
  const { target, socket } = reached;
  if (response.destroyed) return void socket.destroy();
  if (request.headers.expect !== undefined) response.writeContinue();
  forward(exchange, target, socket, ports);
}

/** One request of a client, and where its answer goes. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

// Servers send longer heads than clients may.
export const maxAnswerHeader = 65_536;
// They have no body unless they say so.
const bodiless: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);

/**
 * Sends a request that was judged over a connection of its own, and passes the answer on as it is: redirects are the
 * client's to follow, with a request that is judged again. Bodies go through no faster than the other side takes them.
 */
function forward(
  exchange: Exchange,
  target: HttpTarget,
  socket: Socket,
  { guard }: Pick<FrontPorts, 'guard'>,
): void {
  const { request, response } = exchange;
  const both = [socket, request.socket];
  const begin = (): void => {
    const upstream = sendRequest({
      createConnection: () => socket,
      method: request.method ?? 'GET',
      path: target.path,
      headers: toRaw(requestHeaders(request, target)),
      setHost: false,
      insecureHTTPParser: false,
      maxHeaderSize: maxAnswerHeader,
    });
    // It was paused as long as nobody was there to read it.
    upstream.once('socket', () => socket.resume());
    upstream.on(
      'response',
      guard(both, (answer: IncomingMessage) => passAnswer(answer, response)),
    );
    // Once an answer has begun, its own end says whether it is whole.
    const onFailed = guard(both, () => respond(response, badAnswerResponse()));
    upstream.on('error', onFailed);
    upstream.once('close', () => {
      socket.destroy();
      onFailed();
    });
    response.once('close', () => {
      if (!response.writableFinished) upstream.destroy();
    });
    request.on('error', () => upstream.destroy());
    request.pipe(upstream);
  };
  guard(both, begin)();
}

/** Answers in the proxy's own words, unless an answer has begun. */
function respond(response: ServerResponse, { status, headers, body }: OwnResponse): void {
  if (response.headersSent || response.destroyed) return;
  response.sendDate = false;
  // Said each time, or a phrase that could not be written would stay.
  response.writeHead(status, STATUS_CODES[status] ?? '', headers);
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

function requestHeaders({ method = 'GET', rawHeaders }: IncomingMessage, target: HttpTarget): Header[] {
  const { host, port, framing } = target;
  const hostHeader: Header = ['Host', port === 80 ? host : `${host}:${port}`];
  const empty: Header[] = bodiless.has(method) ? [] : [['Content-Length', '0']];
  const length = framing === 'none' ? empty : [framing];
  return [hostHeader, ...endToEndHeaders(rawHeaders), ...length, ['Connection', 'close']];
}

// A parser lets through what may not be written, such as control characters in a phrase or a value.
export function passAnswer(answer: IncomingMessage, response: ServerResponse): void {
  const { statusCode = 0, statusMessage = '', rawHeaders } = answer;
  // Interim answers never get here.
  if (statusCode < 200) {
    answer.destroy();
    respond(response, badAnswerResponse());
    return;
  }
  const lengths = headerValues(rawHeaders, 'content-length').slice(0, 1);
  const headers = [
    ...endToEndHeaders(rawHeaders),
    ...lengths.map((length): Header => ['Content-Length', length]),
  ];
  response.sendDate = false;
  response.writeHead(statusCode, toWritable(statusMessage), toRaw(headers));
  answer.on('error', () => response.destroy());
  answer.once('close', () => {
    if (!answer.complete) response.destroy();
  });
  answer.pipe(response);
}

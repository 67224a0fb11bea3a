import type { Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { TLSSocket } from 'node:tls';
import {
  maxMessageBytes,
  messagePrefixBytes,
  toTrailersOnly,
  writeMessagePrefix,
} from '@csc-fleet/common/rpc';
import { type ServiceDefinition, status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import type { Watch } from '../traffic/stream-guard.ts';
import type { UnaryHandler, UnaryWire } from './calls.ts';

/** One method, as gRPC knows it. */
interface PlainMethod {
  readonly serialize: (answer: unknown) => Buffer;
  readonly handler: UnaryHandler<unknown>;
}

/** True where a stream was taken; where it was not, it is for gRPC to serve. */
export type ServePlain = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, watch: Watch) => boolean;

/**
 * Serves the unary methods of these services on HTTP/2 itself, call by call as grpc-js would: it makes a dozen objects of a
 * call, copies its message and its answer, and sends that in three writes where one will do, which is half of what a call
 * costs that does nothing. Whatever is not a plain call of one of these methods is left to it. For behind StreamGuard,
 * which has refused by then what is compressed or too long.
 */
export function servePlainCalls(
  services: readonly (readonly [ServiceDefinition, UntypedServiceImplementation])[],
): ServePlain {
  const methods = new Map<string, PlainMethod>();
  for (const [definition, handlers] of services)
    for (const [name, { path, requestStream, responseStream, responseSerialize }] of Object.entries(
      definition,
    ))
      if (!requestStream && !responseStream)
        methods.set(path, { serialize: responseSerialize, handler: handlers[name] as UnaryHandler<unknown> });
  const inTurn = createTurns();
  return (stream, headers, watch) => {
    const path = headers[':path'] ?? '';
    const method = methods.get(path);
    const timeoutMs = readTimeout(headers[timeoutHeader]);
    if (method === undefined || timeoutMs === undefined || !isGrpc(headers['content-type'])) return false;
    new PlainCall(stream, headers, method, (it) => inTurn(watch.party, it)).begin(timeoutMs, watch);
    return true;
  };
}

/** How many calls are served between two looks of the event loop at what else there is. */
export const callsPerTurn = 12;

type InTurn = (serve: () => void) => void;

/**
 * Calls come many at once, in one read. To read them all and then to serve them, a few at a time, costs less than to
 * serve each in the midst of reading. Parties take turns, call by call: nobody waits for all that another one has sent.
 */
function createTurns(): (party: object, serve: () => void) => void {
  const due = new Map<object, (() => void)[]>();
  const serveNext = (): void => {
    for (const [party, calls] of due) {
      const next = calls.shift();
      if (calls.length === 0 || due.size > 1) due.delete(party);
      if (calls.length > 0) due.set(party, calls);
      next?.();
      return;
    }
  };
  let isPlanned = false;
  const plan = (): void => {
    if (isPlanned || due.size === 0) return;
    isPlanned = true;
    setImmediate(turn);
  };
  const turn = (): void => {
    try {
      for (let left = callsPerTurn; left > 0; left -= 1) serveNext();
    } finally {
      isPlanned = false;
      plan();
    }
  };
  return (party, serve) => {
    const waiting = due.get(party);
    if (waiting === undefined) due.set(party, [serve]);
    else waiting.push(serve);
    plan();
  };
}

/** The paths of the unary methods of these services. */
export function unaryPaths(services: readonly ServiceDefinition[]): ReadonlySet<string> {
  const methods = services.flatMap((it) => Object.values(it));
  return new Set(methods.flatMap((it) => (it.requestStream || it.responseStream ? [] : [it.path])));
}

const timeoutHeader = 'grpc-timeout';
const timeout = /^(\d{1,8})([HMSmun])$/;
const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};
// What a timer takes: some 24 days.
const longestMs = 2 ** 31 - 1;

/** In milliseconds; Infinity where there is none, undefined for what is no time. */
function readTimeout(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return Number.POSITIVE_INFINITY;
  const [, digits, unit = ''] = typeof header === 'string' ? (timeout.exec(header) ?? []) : [];
  return digits === undefined ? undefined : Number(digits) * (unitMs[unit] ?? 0);
}

function isGrpc(contentType: string | undefined): boolean {
  return contentType === 'application/grpc' || contentType === 'application/grpc+proto';
}

const answerHeaders = { ':status': 200, 'content-type': 'application/grpc+proto' } as const;
const nothing = Buffer.alloc(0);
const answerOptions = { waitForTrailers: true, sendDate: false } as const;
// As grpc-js says it.
const noMessage = { code: status.UNIMPLEMENTED, details: 'Received no request message for a unary method' };
const secondMessage = {
  code: status.UNIMPLEMENTED,
  details: 'Received a second request message for a unary method',
};
const unserializable = { code: status.INTERNAL, details: 'Error serializing response' };
const tooLong = (bytes: number) => ({
  code: status.RESOURCE_EXHAUSTED,
  details: `Sent message larger than max (${bytes} vs. ${maxMessageBytes})`,
});
const late = { code: status.DEADLINE_EXCEEDED, details: 'Deadline exceeded' };
// A message is for what goes wrong.
const wellEnded = { 'grpc-status': '0' } as const;

// A connection keeps its peer, of which a socket tells by a proxy of Node's.
const peers = new WeakMap<Http2Session, string>();

function peerOf(session: Http2Session): string {
  const known = peers.get(session);
  if (known !== undefined) return known;
  const { remoteAddress = 'unknown', remotePort } = session.socket ?? {};
  const peer = remotePort === undefined ? remoteAddress : `${remoteAddress}:${remotePort}`;
  peers.set(session, peer);
  return peer;
}

class PlainCall implements UnaryWire {
  /** Where sessionOf looks for it. */
  readonly call: { readonly stream: ServerHttp2Stream };
  request: Buffer = nothing;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #method: PlainMethod;
  readonly #inTurn: InTurn;
  #received: Buffer[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, method: PlainMethod, inTurn: InTurn) {
    this.call = { stream };
    this.#stream = stream;
    this.#headers = headers;
    this.#method = method;
    this.#inTurn = inTurn;
  }

  get metadata(): UnaryWire['metadata'] {
    return {
      get: (name) => {
        const value = this.#headers[name];
        return value === undefined ? [] : typeof value === 'string' ? [value] : value;
      },
    };
  }

  getPath(): string {
    return this.#headers[':path'] ?? '';
  }

  getPeer(): string {
    const { session } = this.#stream;
    return session === undefined ? 'unknown' : peerOf(session);
  }

  getAuthContext(): ReturnType<UnaryWire['getAuthContext']> {
    const socket: unknown = this.#stream.session?.socket;
    if (!(socket instanceof TLSSocket) || !socket.authorized) return {};
    const sslPeerCertificate = socket.getPeerCertificate();
    return { transportSecurityType: 'ssl', ...(sslPeerCertificate.raw ? { sslPeerCertificate } : {}) };
  }

  /** @param timeoutMs of the whole call */
  begin(timeoutMs: number, watch: Watch): void {
    const stream = this.#stream;
    stream.on('data', (chunk: Buffer) => {
      watch.took(chunk);
      this.#take(chunk);
    });
    stream.on('end', () => {
      watch.ended();
      this.#inTurn(() => this.#serve());
    });
    stream.on('close', () => this.#over());
    if (timeoutMs > longestMs) return;
    this.#timer = setTimeout(() => this.#fail(late), timeoutMs);
  }

  #take(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#received.push(chunk);
    this.#bytes += chunk.length;
    // What comes behind the message is not kept: of a unary call there is one.
    const first = this.#received[0];
    if (first === undefined || this.#bytes < messagePrefixBytes) return;
    if (first.length < messagePrefixBytes) this.#received = [Buffer.concat(this.#received)];
    if (this.#bytes > this.#wholeBytes) this.#fail(secondMessage);
  }

  // As the first five bytes say.
  get #wholeBytes(): number {
    return messagePrefixBytes + (this.#received[0]?.readUInt32BE(1) ?? 0);
  }

  // What StreamGuard has refused meanwhile ends like any other.
  #serve(): void {
    if (!this.#mayAnswer) return;
    if (this.#bytes < messagePrefixBytes || this.#bytes < this.#wholeBytes) {
      this.#fail(noMessage);
      return;
    }
    const received = this.#received;
    const whole = received.length === 1 ? received[0] : Buffer.concat(received);
    this.request = whole?.subarray(messagePrefixBytes) ?? nothing;
    this.#received = [];
    this.#method.handler(this, (error, answer) => {
      if (error === null) this.#answer(answer);
      else this.#fail(error);
    });
  }

  // A stream that is being closed says so only later.
  get #mayAnswer(): boolean {
    return !this.#isOver && !this.#stream.closed && !this.#stream.destroyed;
  }

  #answer(answer: unknown): void {
    if (!this.#mayAnswer) return;
    const message = this.#serialize(answer);
    if (message === undefined || message.length > maxMessageBytes) {
      this.#fail(message === undefined ? unserializable : tooLong(message.length));
      return;
    }
    const bytes = Buffer.allocUnsafe(messagePrefixBytes + message.length);
    writeMessagePrefix(bytes, message.length);
    bytes.set(message, messagePrefixBytes);
    const stream = this.#stream;
    this.#over();
    stream.respond(answerHeaders, answerOptions);
    stream.on('wantTrailers', () => stream.sendTrailers(wellEnded));
    stream.end(bytes);
  }

  #serialize(answer: unknown): Buffer | undefined {
    try {
      return this.#method.serialize(answer);
    } catch {
      return undefined;
    }
  }

  #fail(error: Parameters<typeof toTrailersOnly>[0]): void {
    if (!this.#mayAnswer) return;
    const stream = this.#stream;
    this.#over();
    stream.respond(toTrailersOnly(error), { endStream: true });
    // What it may still be sending is of no use.
    if (!stream.readableEnded) stream.close();
  }

  #over(): void {
    this.#isOver = true;
    this.#received = [];
    clearTimeout(this.#timer);
  }
}

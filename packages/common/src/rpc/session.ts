import { Duplex } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import type { ServerUnaryCall } from '@grpc/grpc-js';
import { streamWindow } from './options.ts';

/** What identityOfCall needs of any grpc-js server call, unary or streaming. */
export type ServerCallLike = Pick<ServerUnaryCall<unknown, unknown>, 'getAuthContext'>;

/**
 * The HTTP/2 session that a call came by, which grpc-js has no public way to. Undefined where it is not found inside of
 * the call; whoever asks must do without it then.
 */
export function sessionOf(call: object): object | undefined {
  const session = member(member(innermost(member(call, 'call')), 'stream'), 'session');
  return typeof session === 'object' && session !== null ? session : undefined;
}

/** Of an HTTP/2 stream, what writing whole messages to it takes. */
export type Wire = Pick<Duplex, 'cork' | 'uncork' | 'destroyed' | 'writableEnded' | 'writableNeedDrain'> & {
  write(bytes: Uint8Array, done?: (error?: Error | null) => void): boolean;
};

/**
 * The HTTP/2 stream beneath a client's call, once it has been answered: for messages that are written to it as they are, as
 * grpc-js copies each of them twice. All else of the call (headers, answers, its end) stays grpc-js's. Undefined where it is not
 * found inside of the call; then messages go its way.
 */
export function wireOfClientCall(call: object): Wire | undefined {
  let at = member(call, 'call');
  for (let depth = 0; depth < deepest && at !== undefined; depth++) {
    const stream = member(at, 'http2Stream');
    if (stream !== undefined) return isWire(stream) ? stream : undefined;
    at = member(at, 'nextCall') ?? member(at, 'call') ?? member(at, 'child') ?? lastAttempt(at);
  }
  return undefined;
}

/**
 * The HTTP/2 stream beneath a call that is answered with a stream, once its headers have gone out: likewise, for messages that go
 * out as they lie on disk. Whoever writes there writes behind what grpc-js has handed on, and before what it still has.
 */
export function wireOfServerCall(call: object): Wire | undefined {
  const stream = member(innermost(member(call, 'call')), 'stream');
  return isWire(stream) && member(stream, 'headersSent') === true ? stream : undefined;
}

// Intercepting, resolving, retrying and balancing calls, one within the other.
const deepest = 8;

// There is one, as nothing is retried (channelOptions).
function lastAttempt(call: unknown): unknown {
  const attempts = member(call, 'underlyingCalls');
  return Array.isArray(attempts) && attempts.length === 1 ? member(attempts[0], 'call') : undefined;
}

function isWire(stream: unknown): stream is Wire {
  return stream instanceof Duplex;
}

/** Bytes before a message on the wire: not compressed, and how long it is (gRPC over HTTP2, Length-Prefixed-Message). */
export const messagePrefixBytes = 5;

/** Writes those bytes. */
export function writeMessagePrefix(target: Buffer, length: number): void {
  target[0] = 0;
  target.writeUInt32BE(length, 1);
}

// Server interceptors wrap the call that holds the stream.
function innermost(call: unknown): unknown {
  const next = member(call, 'nextCall');
  return next === undefined ? call : innermost(next);
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/**
 * Lets the connection that a call came by receive 8 MiB at once, instead of HTTP/2's 64 KiB for all of its streams:
 * otherwise an executor at 50 ms pushes its output at 1.3 MB/s. For calls of executors; a client needs no more than
 * the default, which bounds what it can make the gate hold. grpc-js has no option for this on servers. False, and
 * nothing has changed, where the session cannot be had.
 */
export function widenReceiveWindow(call: object): boolean {
  const session = sessionOf(call);
  if (session === undefined || !hasWindow(session)) return false;
  session.setLocalWindowSize(2 * streamWindow);
  return true;
}

function hasWindow(session: object): session is { setLocalWindowSize(bytes: number): void } {
  return 'setLocalWindowSize' in session && typeof session.setLocalWindowSize === 'function';
}

interface Pingable {
  ping(callback: (error: Error | null) => void): boolean;
}

// What came before the answer is still on its way through grpc-js when the answer is told.
const settleMs = 50;

/**
 * Resolves once the other end of a call has answered an HTTP/2 PING (RFC 9113 §6.7), which is sent now. It comes in
 * order: whatever the other end had written before has been received by then. Rejects where the connection is gone.
 */
export async function pingPeer(call: object): Promise<void> {
  const session = sessionOf(call);
  if (!isPingable(session)) throw new Error('the connection of this call is not known');
  await new Promise<void>((resolve, reject) => {
    const isSent = session.ping((error) => (error === null ? resolve() : reject(error)));
    if (!isSent) reject(new Error('too many pings are under way'));
  });
  await wait(settleMs);
}

function isPingable(session: object | undefined): session is Pingable {
  return session !== undefined && 'ping' in session && typeof session.ping === 'function';
}

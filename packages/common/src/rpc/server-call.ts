import type { ServerUnaryCall } from '@grpc/grpc-js';

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

// Server interceptors wrap the call that holds the stream.
function innermost(call: unknown): unknown {
  const next = member(call, 'nextCall');
  return next === undefined ? call : innermost(next);
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

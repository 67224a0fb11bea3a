import { CscError, isCscError, isRpcReason, rpcStatusOf } from '@csc-fleet/common/errors';
import {
  type ErrorLog,
  type Role,
  type ServerCallLike,
  type ServiceError,
  toServiceError,
} from '@csc-fleet/common/rpc';
import { asOwner } from '@csc-fleet/common/service';
import {
  parseTraceContext,
  type TraceContext,
  type Tracing,
  toReason,
  tracedNow,
} from '@csc-fleet/common/tracing';
import type { ServerUnaryCall } from '@grpc/grpc-js';
import { authenticate, type Caller, checkCaller } from '../traffic/authenticate.ts';
import type { createTokenCallers } from '../traffic/token-caller.ts';
import type { Unread } from './writing.ts';

/** What holds for all calls. */
export interface CallRules {
  /** The gate's own, and the only one that callers may be of. */
  readonly trustDomain: string;
  /** Gives who calls with a token. Absent: tokens say nothing here, and everybody has a certificate. */
  readonly tokenCallers?: ReturnType<typeof createTokenCallers> | undefined;
  /** Fires when the gate stops. */
  readonly stopping: AbortSignal;
  readonly log: ErrorLog;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
  /** What waits for readers. */
  readonly unread: Unread;
}

/** What holds for the calls of one method. */
export interface MethodRules<R extends Role, Message> {
  /** Whom it is for. */
  readonly role: R;
  /**
   * What becomes of its calls when the gate stops: they are left to finish; they fail with DRAINING, as they can go on at
   * the gate that comes back; or they end well, as they have no end of their own.
   */
  readonly atStop: 'finish' | 'drain' | 'end';
  /** Of one message. Absent: what the transport takes. */
  readonly maxMessageBytes?: number;
  readonly decode: (bytes: Buffer) => Message;
}

/** A call as it came, of any kind. Only the first of `end` and `fail` does something. */
export interface Incoming {
  readonly wire: ServerCallLike &
    Pick<ServerUnaryCall<unknown, unknown>, 'getPeer' | 'getPath'> & {
      readonly metadata: { get(name: string): readonly (string | Buffer)[] };
    };
  readonly end: () => void;
  readonly fail: (status: ServiceError) => void;
}

/** A call whose errors leave as statuses. */
interface Answerable extends Omit<Incoming, 'fail'> {
  readonly fail: (error: unknown) => void;
}

/** A call of which it is known where it belongs in a trace, if it does. */
interface Placed extends Answerable {
  readonly trace: TraceContext | undefined;
}

interface Authenticated<R extends Role> extends Placed {
  readonly caller: Caller<R>;
}

/** A call as its method gets it: it is known who calls, and each message is decoded once it is asked for. */
export interface Ready<R extends Role, Message> extends Authenticated<R> {
  /** Throws MESSAGE_TOO_LARGE, REQUEST_INVALID. */
  readonly read: (bytes: Buffer) => Message;
}

/** May throw as well as reject: a promise for each step of each call would be a good part of what a short one costs. */
type Serve<Call> = (call: Call) => Promise<void>;
type Interceptor<In, Out> = (next: Serve<Out>) => Serve<In>;

/**
 * What every call of Gate and of ExecutorLink goes through, unary or streaming, in this order: each step sees a call
 * before those below it, and what comes of it after them. Two things stand around this list. Before it, on HTTP/2 itself
 * and before a message is read, traffic/ limits who connects, calls and sends, by address and by certificate. After it,
 * every member of a message is held against its bounds: by `withBounds` for Gate's requests, also of callers in the same
 * process, and message by message on the link.
 */
export function intercept<R extends Role, Message>(
  { log, stopping, trustDomain, tracing, tokenCallers }: CallRules,
  { role, atStop, maxMessageBytes, decode }: MethodRules<R, Message>,
): Interceptor<Incoming, Ready<R, Message>> {
  return inOrder(
    owned(),
    errorsAsStatuses(log),
    asSpan(role === 'client' ? tracing : undefined),
    untilStopped(stopping, atStop),
    authenticated(role, trustDomain, tracing, tokenCallers),
    decoded(decode, maxMessageBytes ?? Number.POSITIVE_INFINITY),
  );
}

function inOrder<A, B, C, D, E, F, G>(
  first: Interceptor<A, B>,
  second: Interceptor<B, C>,
  third: Interceptor<C, D>,
  fourth: Interceptor<D, E>,
  fifth: Interceptor<E, F>,
  sixth: Interceptor<F, G>,
): Interceptor<A, G> {
  return (next) => first(second(third(fourth(fifth(sixth(next))))));
}

/** Exceptions that nobody caught while the gate worked for a call are laid to it: it ends as INTERNAL. */
function owned(): Interceptor<Incoming, Incoming> {
  return (next) => (call) => {
    const end = (errorId: string): void => {
      const error = new Error('it failed outside of its own handlers');
      call.fail(toServiceError(error, undefined, errorId));
    };
    return asOwner({ name: `a call of ${call.wire.getPeer()}`, end }, () => next(call));
  };
}

/** A CscError leaves as its status; anything else is logged, and its caller gets INTERNAL and the id in the log. */
function errorsAsStatuses(log: ErrorLog): Interceptor<Incoming, Answerable> {
  return (next) => async (call) => {
    const fail = (error: unknown): void => call.fail(toServiceError(error, log));
    try {
      await next({ ...call, fail });
    } catch (error) {
      fail(error);
    }
  };
}

/**
 * Reads what the caller says of its trace, a hint that goes on to the host, and has the call be a span under it. The calls
 * of executors, which last for days, are none.
 */
function asSpan(tracing: Tracing | undefined): Interceptor<Answerable, Placed> {
  return (next) => {
    const serve = tracing === undefined ? next : inSpan(tracing, next);
    return (call) => {
      const { metadata } = call.wire;
      const traceparent = metadata.get('traceparent')[0];
      const trace =
        traceparent === undefined ? undefined : parseTraceContext(traceparent, metadata.get('tracestate')[0]);
      return serve({ ...call, trace });
    };
  };
}

function inSpan(tracing: Tracing, next: Serve<Placed>): Serve<Placed> {
  return async (call) => {
    const method = call.wire.getPath().slice(1);
    const facts = { 'rpc.system.name': 'grpc', 'rpc.method': method } as const;
    const span = tracing.begin(method, { kind: 'server', parent: call.trace, facts });
    const end = (error: unknown): void => {
      const reason = toReason(error);
      span.note({ 'rpc.status_code': isRpcReason(reason) ? rpcStatusOf(reason) : 'INTERNAL' });
      span.end(reason);
    };
    const fail = (error: unknown): void => {
      end(error);
      call.fail(error);
    };
    try {
      await next({ ...call, fail, trace: span.context });
      span.note({ 'rpc.status_code': 'OK' });
      span.end();
    } catch (error) {
      end(error);
      throw error;
    }
  };
}

function untilStopped(
  stopping: AbortSignal,
  atStop: MethodRules<Role, unknown>['atStop'],
): Interceptor<Placed, Placed> {
  if (atStop === 'finish') return (next) => next;
  return (next) => async (call) => {
    const stop = (): void => (atStop === 'end' ? call.end() : call.fail(draining()));
    if (stopping.aborted) return stop();
    stopping.addEventListener('abort', stop);
    try {
      await next(call);
    } finally {
      stopping.removeEventListener('abort', stop);
    }
  };
}

function draining(): CscError {
  return new CscError('DRAINING', 'this gate is stopping: call again', { retryAfterMs: 500 });
}

function authenticated<R extends Role>(
  role: R,
  trustDomain: string,
  tracing: Tracing | undefined,
  tokenCallers: CallRules['tokenCallers'],
): Interceptor<Placed, Authenticated<R>> {
  const traced = role === 'client' ? tracing : undefined;
  return (next) => (call) => {
    const byToken = tokenCallers?.(call.wire);
    if (byToken !== undefined)
      return byToken.then((it) => next({ ...call, caller: checkCaller(it, role, trustDomain) }));
    const who = () => authenticate(call.wire, role, trustDomain);
    const caller = tracedNow(traced, 'csc.gate.authenticate', { parent: call.trace }, who);
    return next({ ...call, caller });
  };
}

/** Only now, as it is known whose it is: decoding alone can cost much. */
function decoded<R extends Role, Message>(
  decode: (bytes: Buffer) => Message,
  maxBytes: number,
): Interceptor<Authenticated<R>, Ready<R, Message>> {
  const read = (bytes: Buffer): Message => {
    if (bytes.length > maxBytes) {
      const message = `the request has ${bytes.length} bytes; this gate takes ${maxBytes}`;
      throw new CscError('MESSAGE_TOO_LARGE', message);
    }
    try {
      return decode(bytes);
    } catch (cause) {
      if (isCscError(cause)) throw cause;
      throw new CscError('REQUEST_INVALID', 'what came is not a message of this method', { cause });
    }
  };
  return (next) => (call) => next({ ...call, read });
}

import { CscError, isCscError } from '@csc-fleet/common/errors';
import { fromServiceError, type GateChannel } from '@csc-fleet/common/rpc';
import {
  type ChannelInterface,
  type Client,
  type ClientReadableStream,
  connectivityState,
  Metadata,
  type StatusObject,
  status,
} from '@grpc/grpc-js';
import { beginCall, type CallerContext, isTraced } from './caller-trace.ts';

/** How one method is named and encoded: what the generated service definition says of it. */
export interface Method<Q, R> {
  readonly path: string;
  requestSerialize(request: Q): Buffer;
  responseDeserialize(bytes: Buffer): R;
}

/** A channel to the gate, seen as promises and async iterators that fail with CscError only. */
export interface Connection {
  unary<Q, R>(method: Method<Q, R>, request: Q, signal?: AbortSignal): Promise<R>;
  /**
   * Leaving the iterator ends the call. A gate that has taken it and does not begin to answer is given up with GATE_UNREACHABLE.
   * @param begins `quietly`: gates of earlier releases rightly say nothing for as long as there is nothing to say
   */
  stream<Q, R>(
    method: Method<Q, R>,
    request: Q,
    signal?: AbortSignal,
    begins?: 'at once' | 'quietly',
  ): AsyncGenerator<R, void>;
  /** True where the last attempt to reach the gate got no connection at all. */
  isUnconnected(): boolean;
  /** True where there is a connection for the next call. */
  isConnected(): boolean;
  /** The same one, for calls that belong there in the caller's trace. */
  within(place: CallerContext): Connection;
  /** True where the gate has answered within the last minute: it takes our certificate. */
  isAccepted(): boolean;
  /** Ends every call, which then fails with CANCELLED, as each does that is made later. */
  close(): void;
}

/** A channel, and what a failure of it means. */
export interface Route {
  readonly client: Client;
  /** The place and the way there: `the gate at ADDRESS cannot be reached`, and what to do about the way. */
  readonly channel: Pick<GateChannel, 'unreachable' | 'advice'>;
  /** Says more of a gate that cannot be reached, where more is known. */
  explain(error: CscError): CscError;
}

interface HeardRoute extends Route {
  /** The gate has answered. */
  heard(): void;
  /** The gate says of each stream that it has begun. */
  announces: boolean;
  /** Ends each call that is under way; undefined once the connection is closed. */
  underWay: Set<() => void> | undefined;
}

/** How long after its last word a gate is taken for one that accepts us. */
const acceptedMs = 60_000;

/** @param timeoutMs how long one unary call may take, and a stream until it has begun, in milliseconds */
export function createConnection(given: Route, timeoutMs: number): Connection {
  const { client } = given;
  let heardAt = Number.NEGATIVE_INFINITY;
  const isAccepted = (): boolean => performance.now() - heardAt < acceptedMs;
  const route: HeardRoute = {
    ...given,
    announces: false,
    underWay: new Set(),
    heard: () => {
      heardAt = performance.now();
    },
    // What ends then is the gate.
    explain: (error) => (isAccepted() ? error : given.explain(error)),
  };
  const connect = (place?: CallerContext): Connection => ({
    unary: (method, request, signal) => {
      const call = (metadata: Metadata) => callUnary(route, method, request, { timeoutMs, signal, metadata });
      return isTraced() ? tracedUnary(method.path, place, call) : call(new Metadata());
    },
    stream: (method, request, signal, begins = 'at once') => {
      const call = (metadata: Metadata) =>
        callStream(route, method, request, { timeoutMs, signal, metadata, begins });
      return isTraced() ? tracedStream(method.path, place, call) : call(new Metadata());
    },
    isUnconnected: () =>
      client.getChannel().getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE,
    isConnected: () => client.getChannel().getConnectivityState(false) === connectivityState.READY,
    within: connect,
    isAccepted,
    close: () => {
      const ends = route.underWay ?? [];
      route.underWay = undefined;
      for (const end of ends) end();
      client.close();
    },
  });
  return connect();
}

async function tracedUnary<R>(
  path: string,
  place: CallerContext | undefined,
  call: (metadata: Metadata) => Promise<R>,
): Promise<R> {
  const traced = await beginCall(path, place);
  try {
    const answer = await call(traced.metadata);
    traced.end();
    return answer;
  } catch (error) {
    traced.end(error);
    throw error;
  }
}

async function* tracedStream<R>(
  path: string,
  place: CallerContext | undefined,
  call: (metadata: Metadata) => AsyncGenerator<R, void>,
): AsyncGenerator<R, void> {
  const traced = await beginCall(path, place);
  let failure: unknown;
  try {
    yield* call(traced.metadata);
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    traced.end(failure);
  }
}

interface StreamTerms extends UnaryTerms {
  readonly begins: 'at once' | 'quietly';
}

interface UnaryTerms {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly metadata: Metadata;
}

async function callUnary<Q, R>(
  route: HeardRoute,
  method: Method<Q, R>,
  request: Q,
  { timeoutMs, signal, metadata }: UnaryTerms,
): Promise<R> {
  throwIfAborted(signal);
  throwIfClosed(route);
  let call: ChannelCall | undefined;
  const cancel = () => call?.cancelWithStatus(status.CANCELLED, 'Cancelled on client');
  signal?.addEventListener('abort', cancel, { once: true });
  route.underWay?.add(cancel);
  try {
    const message = method.requestSerialize(request);
    call = route.client.getChannel().createCall(method.path, Date.now() + timeoutMs, null, null, null);
    const value = await oneAnswer(call, message, metadata, method);
    route.heard();
    return value;
  } catch (error) {
    throwIfAborted(signal);
    throwIfClosed(route);
    throw toCallError(signal?.reason ?? error, route, timeoutMs);
  } finally {
    signal?.removeEventListener('abort', cancel);
    route.underWay?.delete(cancel);
  }
}

type ChannelCall = ReturnType<ChannelInterface['createCall']>;

/**
 * What Client.makeUnaryRequest does with a call of its channel, without its interceptors and without an error made of every call
 * for the stack that it would fail with: together a fifth of what a call costs. Rejects with the status of a call that fails.
 */
function oneAnswer<R>(
  call: ChannelCall,
  message: Buffer,
  metadata: Metadata,
  { responseDeserialize: decode }: Pick<Method<never, R>, 'responseDeserialize'>,
): Promise<R> {
  return new Promise((resolve, reject) => {
    let answer: { readonly value: R } | undefined;
    let unreadable: StatusObject | undefined;
    call.start(metadata, {
      onReceiveMetadata: () => undefined,
      onReceiveMessage: (bytes: Buffer) => {
        try {
          answer = { value: decode(bytes) };
        } catch {
          const details = 'the answer is not a message of this method';
          unreadable = { code: status.INTERNAL, details, metadata: new Metadata() };
          call.cancelWithStatus(unreadable.code, details);
        }
      },
      onReceiveStatus: (told) => {
        if (unreadable === undefined && told.code === status.OK && answer !== undefined)
          resolve(answer.value);
        else reject(toStatusError(unreadable ?? (told.code === status.OK ? noAnswer(told) : told)));
      },
    });
    call.startRead();
    call.sendMessageWithContext({}, message);
    call.halfClose();
  });
}

function noAnswer({ metadata }: StatusObject): StatusObject {
  return { code: status.UNIMPLEMENTED, details: 'No message received', metadata };
}

function toStatusError(told: StatusObject): Error {
  return Object.assign(new Error(`${told.code} ${status[told.code]}: ${told.details}`), told);
}

async function* callStream<Q, R>(
  route: HeardRoute,
  method: Method<Q, R>,
  request: Q,
  { timeoutMs, signal, metadata, begins }: StreamTerms,
): AsyncGenerator<R, void> {
  throwIfAborted(signal);
  throwIfClosed(route);
  const call: ClientReadableStream<R> = route.client.makeServerStreamRequest(
    method.path,
    (value: Q) => method.requestSerialize(value),
    (bytes) => method.responseDeserialize(bytes),
    request,
    metadata,
  );
  // The iterator below reports the error; this keeps one that comes after it has gone from ending the process.
  call.on('error', () => {});
  const cancel = () => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  route.underWay?.add(cancel);
  const opening = awaitOpening(call, route, timeoutMs, begins);
  try {
    // To destroy the stream would be to make errors, with their stacks, that nobody sees.
    for await (const message of call.iterator({ destroyOnReturn: false })) {
      route.heard();
      yield message as R;
    }
    throwIfAborted(signal);
  } catch (error) {
    throwIfAborted(signal);
    throwIfClosed(route);
    throw opening.late() ?? toCallError(signal?.reason ?? error, route, timeoutMs);
  } finally {
    signal?.removeEventListener('abort', cancel);
    route.underWay?.delete(cancel);
    opening.end();
    leave(call);
  }
}

/** What a gate's first headers of a stream have, which it sends before there is anything to say. */
const begunKey = 'csc-begun';

/**
 * Ends a call whose gate does not begin to answer it: what hangs behind a connection that is kept alive would be waited for
 * for ever. Of `late`, the error that this makes.
 */
function awaitOpening(
  call: ClientReadableStream<unknown>,
  route: HeardRoute,
  timeoutMs: number,
  begins: StreamTerms['begins'],
): { late(): CscError | undefined; end(): void } {
  let late: CscError | undefined;
  // What a gate has said of one stream it says of each.
  const isDue = begins === 'at once' || route.announces;
  const timer = isDue
    ? setTimeout(() => {
        const message = `the gate has taken the call and not begun to answer it within ${timeoutMs / 1000} s: it hangs, what is between it and here does, or it is of an earlier release and has nothing to say`;
        late = new CscError('GATE_UNREACHABLE', message);
        call.cancel();
      }, timeoutMs)
    : undefined;
  // Its headers come with the first message at the latest.
  call.once('metadata', (headers: Metadata) => {
    clearTimeout(timer);
    if (headers.get(begunKey).length > 0) route.announces = true;
  });
  return { late: () => late, end: () => clearTimeout(timer) };
}

// How long a gate has to end a call that nobody reads any more.
const partingMs = 20;

// A gate that has said all that there is ends the call in the same moment: whoever has the last of it need not end it as well.
// What comes until then waits in the stream, which takes no more than its window.
function leave(call: ClientReadableStream<unknown>): void {
  if (call.destroyed || call.readableEnded) return;
  const timer = setTimeout(() => call.cancel(), partingMs).unref();
  call.once('status', () => clearTimeout(timer));
}

/** Why a call has been ended that still had no connection when the time for one was over. */
export class NotConnectedError extends Error {
  constructor(withinMs: number) {
    super(`no connection was made within ${Math.ceil(withinMs / 100) / 10} s`);
  }
}

/** Throws CANCELLED where the caller's signal has been aborted; its reason is the cause. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true || signal.reason instanceof NotConnectedError) return;
  throw new CscError('CANCELLED', 'the caller aborted the call', { cause: signal.reason });
}

function throwIfClosed({ underWay }: HeardRoute): void {
  if (underWay === undefined) throw new CscError('CANCELLED', 'this client has been closed');
}

// What grpc-js puts before the error of whatever gives a call its token, of which it keeps the message alone.
const noToken = 'Getting metadata from plugin failed with error: ';

// grpc-js says where it failed in a sentence of its own, and not what it was that it tried to reach.
function toCallError(error: unknown, { channel, explain }: Route, timeoutMs: number): CscError {
  const failure =
    error instanceof NotConnectedError
      ? new CscError('GATE_UNREACHABLE', error.message, { cause: error })
      : fromServiceError(error);
  if (failure.message.startsWith(noToken))
    return new CscError('CONFIG_INVALID', failure.message.slice(noToken.length), { cause: failure.cause });
  // Of a deadline it says where in the library the call was by then.
  if (failure.code === 'DEADLINE_EXCEEDED') {
    const message = `${channel.unreachable}: no answer within ${timeoutMs / 1000} s${channel.advice}`;
    return new CscError('DEADLINE_EXCEEDED', message, { cause: failure.cause });
  }
  if (!isCscError(failure, 'GATE_UNREACHABLE')) return failure;
  const why = failure.message
    .replace(/^No connection established\. Last error: (Error: )?/, '')
    .replace(/\.$/, '');
  const message = `${channel.unreachable}: ${why}${channel.advice}`;
  const { retryAfterMs } = failure;
  return explain(
    new CscError('GATE_UNREACHABLE', message, {
      cause: failure.cause,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    }),
  );
}

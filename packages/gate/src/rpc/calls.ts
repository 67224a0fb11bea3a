import { CscError } from '@csc-fleet/common/errors';
import type { Role } from '@csc-fleet/common/rpc';
import type { TraceContext } from '@csc-fleet/common/tracing';
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  Metadata,
  type ServerDuplexStream,
  type ServerWritableStream,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import type { Caller } from '../traffic/authenticate.ts';
import { type CallRules, type Incoming, intercept, type MethodRules } from './interceptors.ts';
import type { Call, DuplexCall, ExecutorCall, StreamCall } from './methods.ts';
import { createWrite } from './writing.ts';

// grpc-js's three kinds of calls: each becomes an Incoming for the interceptors, and what is left of it is for its method.

interface Decoder<Message> {
  readonly requestDeserialize: (bytes: Buffer) => Message;
}

export interface OneRequestRules extends CallRules {
  /** Of a request. */
  readonly maxMessageBytes: number;
}

/** A unary call with its request, as it came. */
export type UnaryWire = Incoming['wire'] & { readonly request: Buffer };

/** Serves one such call. `done` is called once, with an error or an answer. */
export type UnaryHandler<Response> = (
  wire: UnaryWire,
  done: (error: ServiceError | null, answer?: Response) => void,
) => void;

/** A service whose messages grpc-js hands over as they came: it would call what is none INTERNAL. */
export function undecoded(service: ServiceDefinition): ServiceDefinition {
  const leave = { requestDeserialize: (bytes: Buffer) => bytes };
  return Object.fromEntries(Object.entries(service).map(([name, method]) => [name, { ...method, ...leave }]));
}

/** Of a client. */
export function unary<Request, Response>(
  rules: OneRequestRules,
  decoder: Decoder<Request>,
  method: (call: Call<Request>) => Promise<Response>,
): UnaryHandler<Response> {
  return answering('client', rules, decoder, (principal, request, trace) =>
    method({ principal, request, trace }),
  );
}

/** Of an executor. */
export function unaryOfExecutor<Request, Response>(
  rules: OneRequestRules,
  decoder: Decoder<Request>,
  method: (call: ExecutorCall<Request>) => Promise<Response>,
): UnaryHandler<Response> {
  return answering('executor', rules, decoder, (executor, request) => method({ executor, request }));
}

function answering<R extends Role, Request, Response>(
  role: R,
  { maxMessageBytes, ...rules }: OneRequestRules,
  { requestDeserialize: decode }: Decoder<Request>,
  method: (caller: Caller<R>, request: Request, trace: TraceContext | undefined) => Promise<Response>,
): UnaryHandler<Response> {
  const serve = intercept(rules, { role, atStop: 'finish', maxMessageBytes, decode });
  return (wire, done) => {
    const finish = once(done);
    const answer = serve(async ({ caller, read, trace }) =>
      finish(null, await method(caller, read(wire.request), trace)),
    );
    void answer({ wire, end: () => undefined, fail: (status) => finish(status) });
  };
}

// What a client waits for that would not know a gate that hangs from one that has nothing to say.
function begun(): Metadata {
  const headers = new Metadata();
  headers.set('csc-begun', '1');
  return headers;
}

/**
 * `gone` fires when the call is over, or its caller has gone.
 * @param begins `quietly`: there may be nothing to say for long, so that headers go before
 */
export function streaming<Request, Response>(
  { maxMessageBytes, ...rules }: OneRequestRules,
  { requestDeserialize: decode }: Decoder<Request>,
  method: (call: StreamCall<Request, Response>) => Promise<void>,
  begins: 'at once' | 'quietly',
): handleServerStreamingCall<Buffer, Response> {
  const serve = intercept(rules, { role: 'client', atStop: 'drain', maxMessageBytes, decode });
  return (wire) => {
    const { gone, end, fail } = followCall(wire);
    const write = createWrite<Response>(wire, gone, rules.unread);
    const answer = serve(async ({ caller, read, trace }) => {
      const request = read(wire.request);
      if (begins === 'quietly') wire.sendMetadata(begun());
      await method({ principal: caller, request, trace, write, gone });
      end();
    });
    void answer({ wire, end, fail });
  };
}

export function duplex<Request, Response>(
  rules: CallRules,
  { requestDeserialize: decode }: Decoder<Request>,
  atStop: MethodRules<'executor', Request>['atStop'],
  method: (call: DuplexCall<Request, Response>) => Promise<void>,
): handleBidiStreamingCall<Buffer, Response> {
  const serve = intercept(rules, { role: 'executor', atStop, decode });
  return (wire) => {
    const { gone, ...ends } = followCall(wire);
    const answer = serve(async ({ caller, read, end, fail }) => {
      await method({ executor: caller, stream: wire, read, end, fail, gone });
      end();
    });
    void answer({ wire, ...ends });
  };
}

function once<Given extends readonly unknown[]>(work: (...given: Given) => void): (...given: Given) => void {
  let isDone = false;
  return (...given) => {
    if (isDone) return;
    isDone = true;
    work(...given);
  };
}

type Stream = ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>;

interface Ends {
  readonly gone: AbortSignal;
  readonly end: () => void;
  readonly fail: (status: ServiceError) => void;
}

// Without one, each call would make an error of its own, with its stack.
const isOver = new CscError('CANCELLED', 'the call is over');

// Over once: with its first end, when its caller has gone, or when the connection is lost.
function followCall(wire: Stream): Ends {
  const gone = new AbortController();
  const over = (how: () => void): void => {
    if (gone.signal.aborted) return;
    how();
    gone.abort(isOver);
  };
  wire.on('cancelled', () => gone.abort(isOver));
  wire.on('close', () => gone.abort(isOver));
  return {
    gone: gone.signal,
    end: () => over(() => wire.end()),
    fail: (status) => over(() => wire.emit('error', status)),
  };
}

import { CscError } from '@csc-fleet/common/errors';
import { type ErrorLog, toServiceError } from '@csc-fleet/common/rpc';
import { asOwner, type Owner } from '@csc-fleet/common/service';
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
  ServerWritableStream,
  ServiceError,
} from '@grpc/grpc-js';
import { authenticate } from '../traffic/authenticate.ts';

/** What every call goes through: who calls, and how errors leave. How often and how much is decided before: traffic/. */
export interface CallRules {
  /** The gate's own, and the only one that callers may be of. */
  readonly trustDomain: string;
  /** Of a request. */
  readonly maxMessageBytes: number;
  /** Fires when the gate stops: streams are ended, and go on at the gate that comes back. */
  readonly stopping: AbortSignal;
  readonly log: ErrorLog;
}

/** A request as it came. It is decoded once it is known whose it is: that alone can cost much. */
export interface Undecoded<Request> {
  readonly bytes: Uint8Array;
  readonly decode: (bytes: Buffer) => Request;
}

type Unary<Request, Response> = (principal: string, request: Request) => Promise<Response> | Response;

/** A unary method: authenticated, and with errors as statuses. */
export function unary<Request, Response>(
  rules: CallRules,
  method: Unary<Request, Response>,
): handleUnaryCall<Undecoded<Request>, Response> {
  return (call, done) => {
    const answer = async (): Promise<Response> => {
      const { uri } = authenticate(call, 'client', rules.trustDomain);
      return method(uri, decode(rules, call.request));
    };
    const finish = once(done);
    asOwner(toOwner(call, finish), answer).then(
      (response) => finish(null, response),
      (error: unknown) => finish(toServiceError(error, rules.log)),
    );
  };
}

/** A server-streaming method gets `write`, which waits while the reader is slow, and a signal for when it has gone. */
type Streaming<Request, Response> = (
  principal: string,
  request: Request,
  write: (message: Response) => Promise<void>,
  gone: AbortSignal,
) => Promise<void>;

export function streaming<Request, Response>(
  rules: CallRules,
  method: Streaming<Request, Response>,
): handleServerStreamingCall<Undecoded<Request>, Response> {
  return (call) => {
    const gone = goneController(call);
    const stop = (): void => gone.abort();
    rules.stopping.addEventListener('abort', stop);
    const answer = async (): Promise<void> => {
      const { uri } = authenticate(call, 'client', rules.trustDomain);
      const write = (message: Response): Promise<void> => writeTo(call, message, gone.signal);
      await method(uri, decode(rules, call.request), write, gone.signal);
      if (rules.stopping.aborted) throw draining();
    };
    const owner = toOwner(call, (error) => {
      call.emit('error', error);
      gone.abort();
    });
    asOwner(owner, answer)
      .then(
        () => call.end(),
        (error: unknown) => void call.emit('error', toServiceError(error, rules.log)),
      )
      .finally(() => rules.stopping.removeEventListener('abort', stop));
  };
}

/** What exceptions that nobody caught are laid to while the gate works for this call: it ends as INTERNAL. */
export function toOwner(call: { getPeer(): string }, fail: (error: ServiceError) => void): Owner {
  return {
    name: `a call of ${call.getPeer()}`,
    end: (errorId) =>
      fail(toServiceError(new Error('it failed outside of its own handlers'), undefined, errorId)),
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

function decode<Request>({ maxMessageBytes }: CallRules, { bytes, decode }: Undecoded<Request>): Request {
  if (bytes.length > maxMessageBytes) {
    const message = `the request has ${bytes.length} bytes; this gate takes ${maxMessageBytes}`;
    throw new CscError('MESSAGE_TOO_LARGE', message);
  }
  try {
    return decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  } catch (cause) {
    throw new CscError('REQUEST_INVALID', 'the request is not a message of this method', { cause });
  }
}

/** What a stream ends with when the gate stops. */
export function draining(): CscError {
  return new CscError('DRAINING', 'this gate is stopping: call again', { retryAfterMs: 500 });
}

/** Fires when the caller has gone or the connection is lost. Not by itself where the call ends with an error of ours. */
export function goneController(
  call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
): AbortController {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  call.on('cancelled', abort);
  call.on('close', abort);
  return controller;
}

// A slow reader's messages wait on disk, not in memory.
function writeTo<Response>(
  call: ServerWritableStream<unknown, Response>,
  message: Response,
  gone: AbortSignal,
): Promise<void> {
  if (gone.aborted || call.write(message)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      call.off('drain', done);
      gone.removeEventListener('abort', done);
      resolve();
    };
    call.on('drain', done);
    gone.addEventListener('abort', done);
  });
}

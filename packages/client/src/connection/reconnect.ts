import { setTimeout as sleep } from 'node:timers/promises';
import { CscError, isCscError, rpcStatusOf } from '@csc-fleet/common/errors';
import { isDropped } from '@csc-fleet/common/rpc';
import { type Connection, NotConnectedError, throwIfAborted } from './connection.ts';

/** How long and how patiently a call is made again. */
export interface ReconnectOptions {
  /** Milliseconds for the first message of a stream, or for the answer to a call. 0: one attempt, which has 5 s to connect. */
  readonly connectForMs: number;
  /** Milliseconds without a message, after the first, after which the client gives up. 0: never reconnects. */
  readonly giveUpAfterMs: number;
  /** True where no connection could be made at all. */
  isUnconnected(): boolean;
  /** True where there is a connection: what takes long then is not the way to the gate. */
  isConnected(): boolean;
  /** True where the gate has answered lately: it takes our certificate. */
  isAccepted(): boolean;
  /** Called before each wait, for progress displays. */
  onRetry?(error: CscError, delayMs: number): void;
}

const firstDelayMs = 100;
const longestDelayMs = 5_000;

// What there is room for in a moment.
const busy: ReadonlySet<string> = new Set(['QUEUE_FULL', 'RATE_LIMITED', 'SPOOL_FULL']);

// UNAVAILABLE is what gRPC's own clients repeat, too.
const isTransient = ({ code }: CscError): boolean =>
  code === 'GATE_UNREACHABLE' || busy.has(code) || rpcStatusOf(code) === 'UNAVAILABLE';

// A place where nobody listens for now, as errno(3) has it; getaddrinfo(3) for a name server that does not answer.
// A connection that is taken and then dropped within its handshake is a balancer's whose gate is away: of a certificate
// a gate judges after that (TLS 1.3, RFC 8446 §2).
const comesBack =
  /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EAI_AGAIN|connect ECONNRESET|before secure TLS/;

// A gate that is killed in a handshake and one that does not accept a certificate look alike; the first does not last.
const mostDrops = 4;

/** The error of a stream that the gate ended before it was complete: worth another try. */
export function endedEarly(): CscError {
  return new CscError('GATE_UNREACHABLE', 'the gate ended the stream before the execution did');
}

/**
 * Does `attempt` again after a transient error, with exponential backoff, until it succeeds or fails for good.
 * @param attempt calls `arrived` for every message, and goes on from where the attempt before it stopped; its calls are
 * ended by the signal that it is given
 */
export async function retrying<T>(
  attempt: (arrived: () => void, signal: AbortSignal | undefined) => Promise<T>,
  options: ReconnectOptions,
  signal: AbortSignal | undefined,
): Promise<T> {
  const backoff = createBackoff(options, signal);
  for (;;) {
    using bounded = backoff.begin();
    try {
      return await attempt(backoff.arrived, bounded.signal);
    } catch (error) {
      await backoff.wait(error);
    }
  }
}

/** The same for a stream: yields what each `open` yields, until one ends by itself. */
export async function* resuming<T>(
  open: (signal: AbortSignal | undefined) => AsyncIterable<T>,
  options: ReconnectOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void> {
  const backoff = createBackoff(options, signal);
  for (;;) {
    using bounded = backoff.begin();
    try {
      for await (const item of open(bounded.signal)) {
        backoff.arrived();
        yield item;
      }
      return;
    } catch (error) {
      await backoff.wait(error);
    }
  }
}

/** A connection whose calls are made again, until they are answered. Each must do no more when it is made twice. */
export function patient(connection: Connection, options: ReconnectOptions): Connection {
  return {
    ...connection,
    within: (place) => patient(connection.within(place), options),
    unary: (method, request, signal) =>
      retrying((_arrived, bounded) => connection.unary(method, request, bounded), options, signal),
  };
}

/** What ends an attempt's calls: the caller's signal, or the end of its time to connect. */
interface Bounded extends Disposable {
  readonly signal: AbortSignal | undefined;
}

interface Backoff {
  begin(): Bounded;
  arrived(): void;
  /** Waits before the next attempt; throws `error` where another one is of no use or the time is up. */
  wait(error: unknown): Promise<void>;
}

// An attempt alone, of which no time was said. What answers at all does so in less, also from the other side of the world.
const onceMs = 5_000;
// The last attempt begins when the time is over.
const leastMs = 1_000;

function createBackoff(options: ReconnectOptions, signal: AbortSignal | undefined): Backoff {
  let attempts = 0;
  let anyArrived = false;
  let since = performance.now();
  const leftMs = (): number =>
    since + (anyArrived ? options.giveUpAfterMs : options.connectForMs) - performance.now();
  // Before the first message it is not known whether there ever was a gate, and one that takes us.
  const isHopeless = (error: CscError): boolean =>
    !anyArrived &&
    options.isUnconnected() &&
    !comesBack.test(error.message) &&
    !(isDropped(error) && (options.isAccepted() || attempts < mostDrops));
  // Of what does not answer, and of a refused connection before that, the second says more.
  let last: CscError | undefined;
  return {
    begin: () => {
      if (options.isConnected()) return { signal, [Symbol.dispose]: () => {} };
      const left = leftMs();
      const withinMs = attempts > 0 ? Math.max(leastMs, left) : left > 0 ? left : onceMs;
      return boundConnecting(withinMs, options, signal);
    },
    arrived: () => {
      attempts = 0;
      last = undefined;
      anyArrived = true;
      since = performance.now();
    },
    wait: async (error) => {
      if (!isCscError(error) || !isTransient(error) || isHopeless(error)) throw error;
      const left = leftMs();
      const told = error.retryAfterMs;
      // That took all the time that there was.
      if (error.cause instanceof NotConnectedError) throw last ?? error;
      // Told to come later than there is time for: it would be told the same again.
      if (left <= 0 || (told !== undefined && told > left)) throw error;
      last = error;
      const delay = told ?? Math.min(left, jittered(Math.min(longestDelayMs, firstDelayMs * 2 ** attempts)));
      attempts++;
      options.onRetry?.(error, delay);
      await sleep(delay, undefined, signal === undefined ? {} : { signal }).catch(() =>
        throwIfAborted(signal),
      );
    },
  };
}

function boundConnecting(
  withinMs: number,
  options: Pick<ReconnectOptions, 'isConnected'>,
  signal: AbortSignal | undefined,
): Bounded {
  const late = new AbortController();
  const timer = setTimeout(() => {
    if (!options.isConnected()) late.abort(new NotConnectedError(withinMs));
  }, withinMs);
  return {
    signal: signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

// Half fixed, half random: a gate that comes back is not met by all of its clients in the same moment.
function jittered(delayMs: number): number {
  return delayMs / 2 + (Math.random() * delayMs) / 2;
}

import { setTimeout as sleep } from 'node:timers/promises';
import { CscError, isCscError, rpcStatusOf } from '@csc-fleet/common/errors';
import { throwIfAborted } from './connection.ts';

/** How long and how patiently a broken stream is opened again. */
export interface ReconnectOptions {
  /** Milliseconds without a message after which the client gives up. 0: never reconnects. */
  readonly giveUpAfterMs: number;
  /** True where no connection could be made at all: before the first message, that is final. */
  isUnconnected(): boolean;
  /** Called before each wait, for progress displays. */
  onRetry?(error: CscError, delayMs: number): void;
}

const firstDelayMs = 100;
const longestDelayMs = 5_000;

// UNAVAILABLE is what gRPC's own clients repeat, too.
const isTransient = ({ code }: CscError): boolean =>
  code === 'GATE_UNREACHABLE' || rpcStatusOf(code) === 'UNAVAILABLE';

/** The error of a stream that the gate ended before it was complete: worth another try. */
export function endedEarly(): CscError {
  return new CscError('GATE_UNREACHABLE', 'the gate ended the stream before the execution did');
}

/**
 * Does `attempt` again after a transient error, with exponential backoff, until it succeeds or fails for good.
 * @param attempt calls `arrived` for every message, and goes on from where the attempt before it stopped
 */
export async function retrying<T>(
  attempt: (arrived: () => void) => Promise<T>,
  options: ReconnectOptions,
  signal: AbortSignal | undefined,
): Promise<T> {
  const backoff = createBackoff(options, signal);
  for (;;) {
    try {
      return await attempt(backoff.arrived);
    } catch (error) {
      await backoff.wait(error);
    }
  }
}

/** The same for a stream: yields what each `open` yields, until one ends by itself. */
export async function* resuming<T>(
  open: () => AsyncIterable<T>,
  options: ReconnectOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void> {
  const backoff = createBackoff(options, signal);
  for (;;) {
    try {
      for await (const item of open()) {
        backoff.arrived();
        yield item;
      }
      return;
    } catch (error) {
      await backoff.wait(error);
    }
  }
}

interface Backoff {
  arrived(): void;
  /** Waits before the next attempt; throws `error` where another one is of no use or the time is up. */
  wait(error: unknown): Promise<void>;
}

function createBackoff(options: ReconnectOptions, signal: AbortSignal | undefined): Backoff {
  let attempts = 0;
  let anyArrived = false;
  let since = performance.now();
  const isFinal = (error: CscError): boolean =>
    !isTransient(error) ||
    performance.now() - since >= options.giveUpAfterMs ||
    (!anyArrived && options.isUnconnected());
  return {
    arrived: () => {
      attempts = 0;
      anyArrived = true;
      since = performance.now();
    },
    wait: async (error) => {
      if (!isCscError(error) || isFinal(error)) throw error;
      const delay = error.retryAfterMs ?? jittered(Math.min(longestDelayMs, firstDelayMs * 2 ** attempts));
      attempts++;
      options.onRetry?.(error, delay);
      await sleep(delay, undefined, signal === undefined ? {} : { signal }).catch(() =>
        throwIfAborted(signal),
      );
    },
  };
}

// Half fixed, half random: a gate that comes back is not met by all of its clients in the same moment.
function jittered(delayMs: number): number {
  return delayMs / 2 + (Math.random() * delayMs) / 2;
}

import { CscError, isCscError } from '@csc-fleet/common/errors';
import { cancel } from '../calls/calls.ts';
import type { Connection } from '../connection/connection.ts';
import type { Receiver, RunHandlers } from './receiver.ts';

// How long an abort waits for the gate to name what it may have been handed: without a name nothing can be cancelled.
const nameWithinMs = 30_000;

/** The caller's signal, held back while the gate has been sent a contract and has not said what it is called. */
export interface Stop {
  readonly signal: AbortSignal | undefined;
  /** The same handlers, which let a signal that has waited for the name pass. */
  listening(handlers: RunHandlers): RunHandlers;
  release(): void;
}

/**
 * @param caller aborts the run
 * @param cancels whether that cancels the execution, whose name is then waited for
 * @param mayBeHandedIn false: nothing has reached a gate
 */
export function createStop(
  caller: AbortSignal | undefined,
  cancels: boolean,
  mayBeHandedIn: () => boolean,
): Stop {
  // What was aborted before anything was sent has nothing to wait for.
  if (caller === undefined || caller.aborted || !cancels)
    return { signal: caller, listening: (handlers) => handlers, release: () => {} };
  const own = new AbortController();
  let named = false;
  let patience: NodeJS.Timeout | undefined;
  const pass = (): void => own.abort(caller.reason);
  const onAbort = (): void => {
    if (named || !mayBeHandedIn()) pass();
    else patience = setTimeout(pass, nameWithinMs);
  };
  caller.addEventListener('abort', onAbort, { once: true });
  return {
    signal: own.signal,
    listening: (handlers) => ({
      ...handlers,
      onEvent: (event) => {
        named = true;
        if (caller.aborted) pass();
        return handlers.onEvent?.(event);
      },
    }),
    release: () => {
      clearTimeout(patience);
      caller.removeEventListener('abort', onAbort);
    },
  };
}

/** Runs `body` and, where its signal ends it and `cancels`, takes the execution down with it. */
export async function abortable(
  connection: Connection,
  receiver: Receiver,
  { signal, cancels }: { readonly signal: AbortSignal | undefined; readonly cancels: boolean },
  body: () => Promise<void>,
): Promise<void> {
  try {
    await body();
  } catch (error) {
    const executionId = receiver.executionId();
    if (!isCscError(error, 'CANCELLED') || signal?.aborted !== true || executionId === undefined) throw error;
    const fate = cancels ? await askToEnd(connection, executionId) : 'goes on';
    const message = `the caller left; execution ${executionId} ${fate}`;
    throw new CscError('CANCELLED', message, { cause: error.cause, executionId });
  }
}

// The caller has left, whatever the gate answers.
async function askToEnd(connection: Connection, executionId: string): Promise<string> {
  try {
    await cancel(connection, executionId, {});
    return 'has been asked to end';
  } catch (error) {
    if (!isCscError(error)) throw error;
    return `may go on, as it could not be asked to end: ${error.message}`;
  }
}

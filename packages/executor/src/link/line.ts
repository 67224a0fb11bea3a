import type { ExecutorLinkClient } from '@csc-fleet/common/rpc';

/** Of a call of gRPC's: how it is ended, and its last event. */
interface OpenCall {
  cancel(): void;
  once(event: 'status', listener: () => void): unknown;
}

/** A connection to the gate of its own, which can be given up for a new one. */
export interface Line {
  /** For the next call. */
  readonly client: ExecutorLinkClient;
  /**
   * Calls after this one are made on a new connection: a gate that answers nothing on `failed`, and never ends it, would
   * otherwise be asked there again, and again. What runs on it may end there.
   */
  giveUp(failed: ExecutorLinkClient): void;
  /** Has `close` cancel a call that is under way then. Gives the call. */
  track<Call extends OpenCall>(call: Call): Call;
  /** Cancels what is under way: a gate that never ends a call would keep this process otherwise for as long as it likes. */
  close(): void;
}

/** Nothing is dialled before the first call. */
export function openLine(open: () => ExecutorLinkClient): Line {
  let client = open();
  let isClosed = false;
  const calls = new Set<OpenCall>();
  return {
    get client() {
      return client;
    },
    giveUp(failed) {
      // Several calls may find so of one; and all may be closed by then.
      if (failed !== client || isClosed) return;
      failed.close();
      client = open();
    },
    track(call) {
      calls.add(call);
      call.once('status', () => calls.delete(call));
      return call;
    },
    close() {
      isClosed = true;
      for (const call of calls) call.cancel();
      client.close();
    },
  };
}

import type { ExecutorLinkClient } from '@csc-fleet/common/rpc';

/** A connection to the gate of its own, which can be given up for a new one. */
export interface Line {
  /** For the next call. */
  readonly client: ExecutorLinkClient;
  /**
   * Calls after this one are made on a new connection: a gate that answers nothing on `failed`, and never ends it, would
   * otherwise be asked there again, and again. What runs on it may end there.
   */
  giveUp(failed: ExecutorLinkClient): void;
  close(): void;
}

/** Nothing is dialled before the first call. */
export function openLine(open: () => ExecutorLinkClient): Line {
  let client = open();
  let isClosed = false;
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
    close() {
      isClosed = true;
      client.close();
    },
  };
}

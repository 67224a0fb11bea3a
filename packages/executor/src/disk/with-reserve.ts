import { isCscError } from '@csc-fleet/common/errors';
import type { Journal } from '../journal/index.ts';
import type { DiskReserve } from './reserve.ts';

/** What a receipt takes of the disk at most, in bytes, with its original, a copy, and the pages of the journal around them. */
function receiptRoom({ draft, commands }: { readonly draft: string; readonly commands: number }): number {
  return 1024 * 1024 + 16 * draft.length + 8192 * commands;
}

/**
 * The journal on a disk that may be full: a ticket is spent only once the room for its receipt is set aside, and what must
 * be written afterwards takes that room. Rejects as the journal does, and `redeem` with SPOOL_FULL.
 */
export function withReserve(journal: Journal, reserve: DiskReserve): Journal {
  const must = <Value>(write: () => Promise<Value>): Promise<Value> => writeWith(reserve, write);
  return {
    ...journal,
    get epoch() {
      return journal.epoch;
    },
    beginEpoch: (lost) => must(() => journal.beginEpoch(lost)),
    async redeem(redemption) {
      const { executionId, draft, commands = 1 } = redemption;
      reserve.promise(executionId, receiptRoom({ draft, commands }));
      try {
        await journal.redeem(redemption);
      } catch (error) {
        reserve.release(executionId);
        throw error;
      }
    },
    async finish(executionId, seal) {
      const finished = await must(() => journal.finish(executionId, seal));
      reserve.release(executionId);
      return finished;
    },
    acknowledge: (executionId, isLookedFor) => must(() => journal.acknowledge(executionId, isLookedFor)),
    putReceipt: (executionId, texts) => must(() => journal.putReceipt(executionId, texts)),
    rename: (executionId, to) => must(() => journal.rename(executionId, to)),
    adopt: () => must(() => journal.adopt()),
    async prune(now) {
      reserve.refill();
      return journal.prune(now);
    },
    async close() {
      await journal.close();
      // What SQLite has given back is for the next start.
      reserve.refill();
    },
  };
}

async function writeWith<Value>(reserve: DiskReserve, write: () => Promise<Value>): Promise<Value> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (!isCscError(error, 'STORE_UNAVAILABLE') || !reserve.giveUp(saysFull(error))) throw error;
    }
  }
}

/** Opens with the room that is set aside where there is no other. Throws as `open` does. */
export function openWith<Value>(reserve: DiskReserve, open: () => Value): Value {
  for (;;) {
    try {
      return open();
    } catch (error) {
      if (!isCscError(error, 'STORE_UNAVAILABLE') || !reserve.giveUp(saysFull(error))) throw error;
    }
  }
}

// SQLITE_FULL, https://www.sqlite.org/rescode.html#full
function saysFull({ cause }: Error): boolean {
  return cause instanceof Error && 'errcode' in cause && cause.errcode === 13;
}

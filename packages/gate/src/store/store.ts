import { dirname } from 'node:path';
import { type SyncFile, WriteAheadLog } from '@csc-fleet/common/database';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { makeDirectory } from '@csc-fleet/common/files';
import { Kysely } from 'kysely';
import { Access } from './access.ts';
import { type AuditStore, auditIn } from './audit-store.ts';
import { type ExecutionStore, executionsIn } from './execution-store.ts';
import { type HostStore, hostsIn } from './host-store.ts';
import { migrate } from './migrations.ts';
import { lockTimeoutMs, NodeSqlite, TransactionalDialect } from './node-sqlite.ts';
import { type ReceiptStore, receiptsIn } from './receipt-store.ts';
import { type RetentionStore, retentionIn } from './retention-store.ts';
import { isLocked, isStoreBusy, toStoreError, whyRefused } from './store-error.ts';
import type { Tables } from './tables.ts';

/**
 * What the gate knows and must still know after it was killed. Every write is on disk before it resolves, and fails
 * with STORE_UNAVAILABLE where it cannot be.
 */
export interface Store extends ExecutionStore, ReceiptStore, HostStore, RetentionStore, AuditStore {
  close(): Promise<void>;
}

/** Who wants to know how the store fares. */
export interface StoreWatcher {
  /** A write failed in a way that no later one gets over: the process must end, and start again from the disk. */
  readonly onLost?: (error: CscError) => void;
  /** The first write that failed since one succeeded, for example as the disk is full: it goes on when that is over. */
  readonly onTrouble?: (error: CscError) => void;
  /** The first write that succeeded since. */
  readonly onRecovered?: () => void;
}

/**
 * Opens or creates the gate's SQLite database. Throws STORE_UNAVAILABLE, also for one that is damaged.
 * @param sync for tests: what puts what was committed on disk
 */
export async function openStore(path: string, watcher: StoreWatcher = {}, sync?: SyncFile): Promise<Store> {
  try {
    makeDirectory(dirname(path), { mode: 0o700 });
    const sqlite = new NodeSqlite(path, undefined, (error) => watcher.onLost?.(error));
    try {
      await migrate(new Kysely<Tables>({ dialect: new TransactionalDialect({ database: sqlite }) }), path);
      const { database, hadLog: wasThere, isShared } = sqlite;
      const log = new WriteAheadLog(database, path, { wasThere, isShared, sync });
      const access = new Access(sqlite, log, {
        toError: toStoreError,
        onOutcome: watchOutcomes(watcher),
        onLost: (error) => watcher.onLost?.(error),
        busyTimeoutMs: lockTimeoutMs,
      });
      return {
        ...executionsIn(access),
        ...receiptsIn(access),
        ...hostsIn(access),
        ...retentionIn(access),
        ...auditIn(access),
        close: () => access.close(),
      };
    } catch (error) {
      sqlite.close();
      throw error;
    }
  } catch (cause) {
    if (isCscError(cause, 'STORE_UNAVAILABLE')) throw cause;
    throw new CscError('STORE_UNAVAILABLE', `the store ${path} cannot be opened: ${whyNotOpened(cause)}`, {
      cause,
      isLasting: cause instanceof CscError || isLocked(cause),
    });
  }
}

function whyNotOpened(cause: unknown): string {
  if (cause instanceof CscError) return cause.message;
  if (isLocked(cause))
    return 'another process uses it: a gate that runs already, or csc restore. Stop that one, or give each gate a data_dir of its own';
  return whyRefused(cause) ?? 'does another gate use it, or is the disk full or read-only?';
}

function watchOutcomes({ onLost, onTrouble, onRecovered }: StoreWatcher): (error?: unknown) => void {
  let troubled = false;
  return (cause) => {
    if (cause === undefined) {
      if (troubled) onRecovered?.();
      troubled = false;
      return;
    }
    const error = toStoreError(cause);
    if (!isStoreBusy(error)) onLost?.(error);
    else if (!troubled) onTrouble?.(error);
    troubled = true;
  };
}

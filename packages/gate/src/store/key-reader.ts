import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { IdempotencyKey } from './write-step.ts';

/** Says of idempotency keys that they are new, as nearly all are, without asking the thread that writes. */
export interface KeyReader {
  /**
   * True where no execution on disk has it. What is being written may have it yet: who creates an execution learns that from
   * the write. False where it is not known to be new.
   */
  isNew(key: IdempotencyKey): boolean;
  close(): void;
}

const isThere = 'SELECT 1 FROM idempotency_keys WHERE principal = ? AND idempotency_key = ?';

/** Over a connection of its own, which only reads. One that cannot be had, as beside a store on a full disk, knows nothing. */
export function openKeyReader(path: string): KeyReader {
  const reader = tryToOpen(path);
  return {
    isNew({ principal, idempotency_key: key }) {
      try {
        return reader !== undefined && reader.find.get(principal, key) === undefined;
      } catch {
        return false;
      }
    },
    close: () => reader?.database.close(),
  };
}

interface Reader {
  readonly database: DatabaseSync;
  readonly find: StatementSync;
}

function tryToOpen(path: string): Reader | undefined {
  let database: DatabaseSync | undefined;
  try {
    // Nobody is waited for: whoever has it locked is asked.
    database = new DatabaseSync(path, { readOnly: true, timeout: 0 });
    return { database, find: database.prepare(isThere) };
  } catch {
    database?.close();
    return undefined;
  }
}

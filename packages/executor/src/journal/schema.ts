import type { DatabaseSync } from 'node:sqlite';
import { CscError } from '@csc-fleet/common/errors';

const version = 1;

// A row of `executions` goes: redeemed (draft) → finished (receipt_json) → acknowledged → pruned.
const tables = `
CREATE TABLE executions (
  execution_id TEXT PRIMARY KEY,
  ticket_id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  draft TEXT NOT NULL,
  redeemed_at INTEGER NOT NULL,
  receipt_json BLOB,
  output_log_length INTEGER,
  acknowledged_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX executions_unacknowledged ON executions (owner) WHERE acknowledged_at IS NULL;
CREATE INDEX executions_acknowledged ON executions (acknowledged_at) WHERE acknowledged_at IS NOT NULL;
CREATE TABLE approvals (
  approval_id TEXT PRIMARY KEY,
  execution_id TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE receipt_chain (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  head TEXT NOT NULL
) STRICT;
PRAGMA user_version = ${version};
`;

/** Makes the tables where there are none. Throws STORE_UNAVAILABLE for a journal of a later version. */
export function prepareSchema(database: DatabaseSync): void {
  // synchronous=FULL: a commit that has returned survives a power cut; a ticket's single use rests on that.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  database.exec('BEGIN IMMEDIATE');
  try {
    const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
    if (found > version) {
      throw new CscError(
        'STORE_UNAVAILABLE',
        `the journal has version ${found}, this executor writes version ${version}: run the executor that wrote it`,
      );
    }
    if (found === 0) database.exec(tables);
  } finally {
    database.exec('COMMIT');
  }
}

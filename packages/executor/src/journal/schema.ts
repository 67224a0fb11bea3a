import type { DatabaseSync } from 'node:sqlite';
import { CscError } from '@csc-fleet/common/errors';
import { clockSkewMs, maxTicketLifeMs } from '@csc-fleet/common/ticket';

// A row of `executions` goes: redeemed (draft) → finished (receipt_json) → acknowledged → pruned. A refusal begins finished.
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
`;

// What outlasts pruning. `memory` says which tickets this journal can vouch for: those that began before `born_at` may
// have been used by a journal that is lost, and of those that ended up to `floor` rows may be gone. Neither goes back.
// `spent` keeps ids of executions and tickets for ever, as the first 16 bytes of a SHA-256: an id has no end of its own, and
// who has the gate's key can put an old one into a new ticket.
const memory = `
ALTER TABLE executions ADD COLUMN ends_at INTEGER NOT NULL DEFAULT 0;
UPDATE executions SET ends_at = redeemed_at + ${maxTicketLifeMs + clockSkewMs};
CREATE TABLE memory (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  born_at INTEGER NOT NULL,
  floor INTEGER NOT NULL,
  approvals_floor INTEGER NOT NULL
) STRICT;
CREATE TABLE spent (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
`;

// One chain for every outcome. A chain that was begun before receipts had numbers goes on: its first numbered one names
// the last that had none.
const chain = `
ALTER TABLE executions ADD COLUMN original_json BLOB;
ALTER TABLE receipt_chain RENAME TO unnumbered_chain;
CREATE TABLE receipt_chain (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  epoch TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  head TEXT
) STRICT;
INSERT INTO receipt_chain VALUES (1, lower(hex(randomblob(16))), 0, (SELECT head FROM unnumbered_chain));
DROP TABLE unnumbered_chain;
`;

// The least that a receipt needs, beside the draft: a disk that loses one of the two loses no receipt.
const bare = `ALTER TABLE executions ADD COLUMN bare TEXT NOT NULL DEFAULT '';`;

// Nothing that is done with a journal reads more of it than it is about. What is over is found by its date; damage that
// acknowledges what has a receipt, which adopting looks for, is in an index of its own, with nothing in it.
const growth = `
DROP INDEX executions_acknowledged;
CREATE INDEX executions_over ON executions (ends_at) WHERE acknowledged_at IS NOT NULL;
CREATE INDEX executions_not_over ON executions (execution_id)
  WHERE acknowledged_at IS NOT NULL AND (receipt_json IS NULL OR length(receipt_json) > 0);
CREATE INDEX approvals_over ON approvals (expires_at);
`;

// Receipts that a gate has acknowledged, and has not proven yet to be in the log that the owners name; and the newest checkpoint
// that was met of each log.
const logs = `
CREATE TABLE unproven (
  execution_id TEXT PRIMARY KEY,
  receipt_sha256 TEXT NOT NULL,
  acknowledged_at INTEGER NOT NULL,
  asked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE seen_logs (vkey TEXT PRIMARY KEY, checkpoint TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

const version = 6;
// What version 1 forgot, it forgot a day after its acknowledgement.
const forgottenBeforeMs = 24 * 60 * 60 * 1000;

function migrate(database: DatabaseSync, found: number, now: Date): void {
  if (found === 0) database.exec(tables);
  if (found < 2) {
    const [bornAt, floor] = found === 0 ? [now.getTime(), 0] : [0, now.getTime() - forgottenBeforeMs];
    database.exec(memory);
    database.prepare('INSERT INTO memory VALUES (1, ?, ?, ?)').run(bornAt, floor, floor);
  }
  if (found < 3) database.exec(chain);
  if (found < 4) database.exec(bare);
  if (found < 5) database.exec(growth);
  if (found < 6) database.exec(logs);
  database.exec(`PRAGMA user_version = ${version}`);
}

/**
 * Makes the tables where there are none, and brings those of an earlier version up to date.
 * Throws STORE_UNAVAILABLE for a journal of a later version.
 * @param now a new journal's time of birth
 */
export function prepareSchema(database: DatabaseSync, now: Date): void {
  // synchronous=FULL: a commit that has returned survives a power cut; a ticket's single use rests on that.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  database.exec('BEGIN IMMEDIATE');
  try {
    const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
    if (found > version) {
      throw new CscError(
        'STORE_UNAVAILABLE',
        `a later release has written the journal (version ${found}; this one writes ${version}): run that one, or restore the backup that was made before it`,
        { isLasting: true },
      );
    }
    if (found < version) migrate(database, found, now);
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

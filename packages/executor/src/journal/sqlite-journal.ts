import { DatabaseSync } from 'node:sqlite';
import { checkDatabase, prepareDatabaseFile } from '@csc-fleet/common/database';
import { type Clock, systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { ReceiptTexts } from '@csc-fleet/common/evidence';
import { processIdentity } from '@csc-fleet/common/service';
import { createWriter, type JournalWriter, performAll, storeUnavailable } from './commits.ts';
import type { Journal, ReceiptHead, SpareReceipt } from './journal.ts';
import { findObjection, readMemory } from './memory.ts';
import { prepareSchema } from './schema.ts';
import { readSpare } from './spare.ts';
import { type Chain, prepareStatements, readChain, type Statements, toTexts } from './statements.ts';
import { openThreadWriter } from './thread-writer.ts';

/** How a journal is restored. */
export const restoreJournalCommand = 'csc restore executor --config FILE --from BACKUP';

/** What it is called in a state directory. */
export const journalFile = 'journal.sqlite';

// What nobody waits for shares a transaction with what somebody does: if it is lost, it is done again.
const unhurriedMs = 100;

export interface SqliteJournalOptions {
  /** How long another process's transaction is waited for, in milliseconds. Default: 5000. */
  readonly busyTimeoutMs?: number;
  readonly clock?: Clock;
  /** Who this process is to the others that share the journal. Default: itself. For tests. */
  readonly owner?: string;
  /**
   * Where it is written and put on disk: in a thread, which holds nobody up, or here, which is ready at once and waits for
   * the disk. Default: here.
   */
  readonly commits?: 'thread' | 'here';
}

/**
 * The journal in an SQLite file, which several processes may share; it is made where there is none. What it tells without a
 * promise is read here, over a connection of its own: SQLite shows nothing that is not on disk.
 * Throws STORE_UNAVAILABLE where it cannot be opened or is damaged: one that has forgotten what it ran would run it again.
 */
export function openSqliteJournal(path: string, options: SqliteJournalOptions = {}): Journal {
  const { clock = systemClock, busyTimeoutMs = 5000 } = options;
  const owner = options.owner ?? processIdentity(process.pid) ?? String(process.pid);
  const database = openDatabase(path, busyTimeoutMs, clock.now());
  const statements = prepareStatements(database);
  const { writer, close } =
    options.commits === 'thread'
      ? openThreadWriter({ path, busyTimeoutMs, owner }, statements)
      : writeHere(database, statements, owner);
  let { epoch } = readChain(statements);
  return {
    get epoch() {
      return epoch;
    },
    beginEpoch: async (lost = {}) => {
      epoch = await writer.run('beginEpoch', [clock.now(), lost]);
    },
    head: () => toHead(readChain(statements)),
    findObjection: (ticket) => findObjection(statements, ticket),
    bornAt: () => new Date(readMemory(statements).bornAt),
    receiptOf: (executionId) => receiptOf(statements, executionId),
    unacknowledged: () => statements.unacknowledged.all().map((row) => String(row['execution_id'])),
    redeem: (redemption) => writer.run('redeem', [redemption]),
    refuse: ({ seal, ...refusal }) => writer.run('refuse', [refusal], { seal }),
    progress: (executionId, draft) => writer.run('progress', [executionId, draft]),
    finish: (executionId, seal) => writer.run('finish', [executionId], { seal }),
    spare: (executionId) => spareOf(statements, executionId),
    putReceipt: (executionId, texts) => writer.run('putReceipt', [executionId, texts]),
    rename: (executionId, to) => writer.run('rename', [executionId, to]),
    acknowledge: (executionId) =>
      writer.run('acknowledge', [executionId, clock.now()], { withinMs: unhurriedMs }),
    adopt: () => writer.run('adopt', []),
    prune: (now) => writer.run('prune', [now], { withinMs: unhurriedMs }),
    close: async () => {
      // So that the next one to open it takes over, even in this very process.
      await writer.run('disown', []).catch(() => {});
      await writer.idle();
      database.close();
      // The last connection to close brings the log into the file, with an fsync.
      await close();
    },
  };
}

function writeHere(
  database: DatabaseSync,
  statements: Statements,
  owner: string,
): { readonly writer: JournalWriter; close(): Promise<void> } {
  const hands = { statements, owner };
  const writer = createWriter((commands, sealAt) => performAll(database, hands, commands, sealAt));
  return { writer, close: async () => {} };
}

function openDatabase(path: string, timeout: number, now: Date): DatabaseSync {
  const file = { path, restore: restoreJournalCommand };
  try {
    prepareDatabaseFile(file);
    const database = new DatabaseSync(path, { timeout });
    try {
      checkDatabase(database, file);
      prepareSchema(database, now);
    } catch (error) {
      database.close();
      throw error;
    }
    return database;
  } catch (error) {
    throw error instanceof CscError ? error : storeUnavailable(error);
  }
}

function receiptOf(statements: Statements, executionId: string): ReceiptTexts | undefined {
  const row = statements.receipt.get(executionId);
  return row === undefined ? undefined : toTexts(row);
}

function toHead({ sequence, head }: Chain): ReceiptHead | undefined {
  return head === undefined || sequence === 0 ? undefined : { sequence, receiptSha256: head };
}

function spareOf(statements: Statements, executionId: string): SpareReceipt {
  const row = statements.drafts.get(executionId);
  return { draft: String(row?.['draft'] ?? ''), texts: readSpare(String(row?.['bare'])) };
}

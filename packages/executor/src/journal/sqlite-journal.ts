import { DatabaseSync } from 'node:sqlite';
import { type Clock, systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { createGroupCommit, storeUnavailable } from './group-commit.ts';
import type { Adopted, FinishedExecution, Journal, Redemption, Seal } from './journal.ts';
import { isAlive, processIdentity } from './process-identity.ts';
import { prepareSchema } from './schema.ts';
import { prepareStatements, type Statements } from './statements.ts';

// A ticket lives a minute at most, so one of yesterday is refused by its own dates before the journal is asked.
const keptMs = 24 * 60 * 60 * 1000;
// What nobody waits for shares a transaction with what somebody does: if it is lost, it is done again.
const unhurriedMs = 100;
// Of one `prune`, so that no transaction holds the others up.
const prunedAtOnce = 1000;

export interface SqliteJournalOptions {
  /** How long another process's transaction is waited for, in milliseconds. Default: 5000. */
  readonly busyTimeoutMs?: number;
  readonly clock?: Clock;
  /** Who this process is to the others that share the journal. Default: itself. For tests. */
  readonly owner?: string;
}

/**
 * The journal in an SQLite file, which several processes may share; it is made where there is none.
 * Throws STORE_UNAVAILABLE where it cannot be opened.
 */
export function openSqliteJournal(path: string, options: SqliteJournalOptions = {}): Journal {
  const owner = options.owner ?? processIdentity(process.pid) ?? String(process.pid);
  const clock = options.clock ?? systemClock;
  const database = openDatabase(path, options.busyTimeoutMs ?? 5000);
  const statements = prepareStatements(database);
  const commits = createGroupCommit(database);
  return {
    isRedeemed: (ticketId, executionId) => statements.isRedeemed.get(ticketId, executionId) !== undefined,
    unacknowledged: () => statements.unacknowledged.all().map((row) => String(row['execution_id'])),
    redeem: (redemption) => commits.run(() => redeem(statements, owner, redemption)),
    progress: (executionId, draft) => commits.run(() => void statements.setDraft.run(draft, executionId)),
    finish: (executionId, seal) => commits.run(() => finish(statements, executionId, seal)),
    acknowledge: (executionId) =>
      commits.run(() => void statements.acknowledge.run(clock.now().getTime(), executionId), unhurriedMs),
    adopt: () => commits.run(() => adopt(statements, owner)),
    prune: (now) => commits.run(() => prune(statements, now), unhurriedMs),
    close: async () => {
      // So that the next one to open it takes over, even in this very process.
      await commits.run(() => void statements.disown.run(owner)).catch(() => {});
      database.close();
    },
  };
}

function openDatabase(path: string, timeout: number): DatabaseSync {
  try {
    const database = new DatabaseSync(path, { timeout });
    prepareSchema(database);
    return database;
  } catch (error) {
    throw error instanceof CscError ? error : storeUnavailable(error);
  }
}

function redeem(statements: Statements, owner: string, redemption: Redemption): void {
  const { ticketId, executionId, draft, redeemedAt, approvals } = redemption;
  if (statements.isRedeemed.get(ticketId, executionId) !== undefined) {
    throw new CscError(
      'TICKET_REPLAYED',
      'this ticket has been redeemed before, and its command was started once',
    );
  }
  statements.open.run(executionId, ticketId, owner, draft, redeemedAt.getTime());
  for (const { approvalId, expiresAt } of approvals) {
    if (statements.consume.run(approvalId, executionId, expiresAt.getTime()).changes === 0) {
      throw new CscError(
        'APPROVAL_INVALID',
        `approval ${approvalId} is for one execution and has been used up`,
      );
    }
  }
}

function finish(statements: Statements, executionId: string, seal: Seal): FinishedExecution {
  const row = statements.find.get(executionId);
  if (row === undefined) {
    throw new CscError('EXECUTION_UNKNOWN', `the journal has no execution ${executionId}`);
  }
  if (row['receipt_json'] !== null) return toFinished(row);
  const head = statements.head.get()?.['head'];
  const sealed = seal(typeof head === 'string' ? head : undefined);
  statements.setHead.run(sealed.receiptSha256);
  statements.finish.run(sealed.receiptJson, sealed.outputLogLength, executionId);
  return { executionId, receiptJson: sealed.receiptJson, outputLogLength: sealed.outputLogLength };
}

function adopt(statements: Statements, owner: string): Adopted {
  const rows = statements.otherOwners
    .all(owner)
    .map((row) => String(row['owner']))
    .filter((other) => !isAlive(other))
    .flatMap((dead) => statements.adopt.all(owner, dead));
  return {
    running: rows
      .filter((row) => row['receipt_json'] === null)
      .map((row) => ({ executionId: String(row['execution_id']), draft: String(row['draft']) })),
    finished: rows.filter((row) => row['receipt_json'] !== null).map(toFinished),
  };
}

function prune(statements: Statements, now: Date): number {
  const before = now.getTime() - keptMs;
  const executions = statements.pruneExecutions.run(before, prunedAtOnce).changes;
  const approvals = statements.pruneApprovals.run(before, prunedAtOnce).changes;
  return Number(executions) + Number(approvals);
}

function toFinished(row: Readonly<Record<string, unknown>>): FinishedExecution {
  const receiptJson = row['receipt_json'];
  if (!(receiptJson instanceof Uint8Array))
    throw new TypeError('the journal holds a receipt that is not bytes');
  return {
    executionId: String(row['execution_id']),
    receiptJson,
    outputLogLength: Number(row['output_log_length']),
  };
}

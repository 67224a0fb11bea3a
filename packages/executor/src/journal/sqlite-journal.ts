import { DatabaseSync } from 'node:sqlite';
import type { ConsumedApproval } from '@csc-fleet/common/approval';
import { checkDatabase, prepareDatabaseFile } from '@csc-fleet/common/database';
import { type Clock, systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { ChainedReceipt, ChainLink, ReceiptTexts } from '@csc-fleet/common/evidence';
import { isAlive, processIdentity } from '@csc-fleet/common/service';
import { createJournalCommits, storeUnavailable } from './commits.ts';
import type {
  Adopted,
  FinishedExecution,
  Journal,
  LostTime,
  ReceiptHead,
  Redemption,
  Refusal,
  Seal,
  SpareReceipt,
  TicketUse,
} from './journal.ts';
import { findObjection, readMemory, spentId, submissionId } from './memory.ts';
import { prepareSchema } from './schema.ts';
import { readSpare, toSpare } from './spare.ts';
import { prepareStatements, type Statements } from './statements.ts';

/** How a journal is restored. */
export const restoreJournalCommand = 'csc restore executor --config FILE --from BACKUP';

/** What it is called in a state directory. */
export const journalFile = 'journal.sqlite';

// A ticket that ended this long ago is refused by its own dates before the journal is asked, and by the floor should the
// clock go back.
const keptMs = 2 * 60 * 1000;
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
 * Throws STORE_UNAVAILABLE where it cannot be opened or is damaged: one that has forgotten what it ran would run it again.
 */
export function openSqliteJournal(path: string, options: SqliteJournalOptions = {}): Journal {
  const owner = options.owner ?? processIdentity(process.pid) ?? String(process.pid);
  const clock = options.clock ?? systemClock;
  const database = openDatabase(path, options.busyTimeoutMs ?? 5000, clock.now());
  const statements = prepareStatements(database);
  const commits = createJournalCommits(database);
  let { epoch } = readChain(statements);
  return {
    get epoch() {
      return epoch;
    },
    beginEpoch: async (lost = {}) => {
      epoch = await commits.run(() => beginEpoch(statements, clock.now().getTime(), lost));
    },
    head: () => toHead(readChain(statements)),
    findObjection: (ticket) => findObjection(statements, ticket),
    bornAt: () => new Date(readMemory(statements).bornAt),
    receiptOf: (executionId) => receiptOf(statements, executionId),
    unacknowledged: () => statements.unacknowledged.all().map((row) => String(row['execution_id'])),
    redeem: (redemption) => commits.run(() => redeem(statements, owner, redemption)),
    refuse: (refusal) => commits.run(() => refuse(statements, owner, refusal)),
    progress: (executionId, draft) => commits.run(() => void statements.setDraft.run(draft, executionId)),
    finish: (executionId, seal) => commits.run(() => finish(statements, executionId, seal)),
    spare: (executionId) => spareOf(statements, executionId),
    putReceipt: (executionId, texts) =>
      commits.run(
        () => void statements.putReceipt.run(texts.receiptJson, texts.originalJson ?? null, executionId),
      ),
    rename: (executionId, to) => commits.run(() => void statements.rename.run(to, executionId)),
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

function redeem(statements: Statements, owner: string, redemption: Redemption): void {
  const { ticketId, executionId, expiresAt, draft, bare, redeemedAt, approvals } = redemption;
  throwObjection(statements, redemption);
  spendSubmission(statements, redemption);
  statements.open.run(executionId, ticketId, owner, expiresAt.getTime(), redeemedAt.getTime(), draft, bare);
  for (const approval of approvals) consume(statements, executionId, approval);
}

function consume(
  statements: Statements,
  executionId: string,
  { approvalId, expiresAt }: ConsumedApproval,
): void {
  const forgotten = expiresAt.getTime() <= readMemory(statements).approvalsFloor;
  if (!forgotten && statements.consume.run(approvalId, executionId, expiresAt.getTime()).changes > 0) return;
  throw new CscError('APPROVAL_INVALID', `approval ${approvalId} is for one execution and has been used up`);
}

function refuse(statements: Statements, owner: string, refusal: Refusal): ReceiptTexts {
  const { ticketId, executionId, expiresAt, refusedAt, seal } = refusal;
  throwObjection(statements, refusal);
  spendSubmission(statements, refusal);
  const { receiptJson, originalJson } = addToChain(statements, seal);
  const times = [expiresAt.getTime(), refusedAt.getTime()] as const;
  const texts = { receiptJson, originalJson };
  const row = [executionId, ticketId, owner, ...times, receiptJson, originalJson ?? null] as const;
  statements.openRefused.run(...row, toSpare(texts));
  return texts;
}

function spendSubmission(statements: Statements, { submission }: TicketUse): void {
  if (submission !== undefined) statements.spend.run(submissionId(submission));
}

function throwObjection(statements: Statements, ticket: TicketUse): void {
  const objection = findObjection(statements, ticket);
  if (objection !== undefined) throw objection;
}

function receiptOf(statements: Statements, executionId: string): ReceiptTexts | undefined {
  const row = statements.receipt.get(executionId);
  return row === undefined ? undefined : toTexts(row);
}

function finish(statements: Statements, executionId: string, seal: Seal): FinishedExecution {
  const row = statements.find.get(executionId);
  if (row === undefined) {
    throw new CscError('EXECUTION_UNKNOWN', `the journal has no execution ${executionId}`);
  }
  if (row['receipt_json'] !== null) return toFinished(row);
  const { receiptJson, originalJson, outputLogLength } = addToChain(statements, seal);
  const spare = toSpare({ receiptJson, originalJson });
  statements.finish.run(receiptJson, originalJson ?? null, spare, outputLogLength, executionId);
  return { executionId, receiptJson, originalJson, outputLogLength };
}

// In the transaction that keeps the receipt: a number is given with it or not at all.
function addToChain<Sealed extends ChainedReceipt>(
  statements: Statements,
  seal: (link: ChainLink) => Sealed,
): Sealed {
  const { epoch, sequence: last, head: previousSha256 } = readChain(statements);
  const sequence = last + 1;
  const sealed = seal({ epoch, sequence, previousSha256 });
  statements.setHead.run(sequence, sealed.receiptSha256);
  return sealed;
}

function beginEpoch(statements: Statements, now: number, { signedUntil, ended = [] }: LostTime): string {
  statements.beginEpoch.run();
  // A machine that was set back often has its clock set back with it.
  statements.beBorn.run(Math.max(now, signedUntil?.getTime() ?? 0));
  if (ended === 'all') statements.endUnfinished.run(now);
  else for (const executionId of ended) statements.endOne.run(now, executionId);
  return readChain(statements).epoch;
}

interface Chain {
  readonly epoch: string;
  /** Of the newest receipt; 0 where there is none. */
  readonly sequence: number;
  readonly head: string | undefined;
}

function readChain(statements: Statements): Chain {
  const row = statements.chain.get();
  const head = row?.['head'];
  return {
    epoch: String(row?.['epoch']),
    sequence: Number(row?.['sequence']),
    head: typeof head === 'string' ? head : undefined,
  };
}

function toHead({ sequence, head }: Chain): ReceiptHead | undefined {
  return head === undefined || sequence === 0 ? undefined : { sequence, receiptSha256: head };
}

function spareOf(statements: Statements, executionId: string): SpareReceipt {
  const row = statements.drafts.get(executionId);
  return { draft: String(row?.['draft'] ?? ''), texts: readSpare(String(row?.['bare'])) };
}

function adopt(statements: Statements, owner: string): Adopted {
  // With its receipt, or before it had one, none is acknowledged: that goes with the receipt's text.
  statements.unacknowledge.run();
  const rows = statements.otherOwners
    .all(owner)
    .map((row) => String(row['owner']))
    .filter((other) => !isAlive(other))
    .flatMap((dead) => statements.adopt.all(owner, dead));
  return {
    running: rows
      .filter((row) => row['receipt_length'] === null)
      .map((row) => ({
        executionId: String(row['execution_id']),
        draft: String(row['draft']),
        bare: String(row['bare']),
      })),
    finished: rows
      .filter((row) => row['receipt_length'] !== null)
      .map((row) => ({
        executionId: String(row['execution_id']),
        receiptLength: Number(row['receipt_length']) + Number(row['original_length']),
        outputLogLength: Number(row['output_log_length']),
      })),
  };
}

// The floor comes from what goes, not from the clock: a clock that is wrong for a while does not shut the host for longer.
function prune(statements: Statements, now: Date): number {
  const before = now.getTime() - keptMs;
  const executions = statements.pruneExecutions.all(before, prunedAtOnce);
  for (const row of executions) {
    statements.spend.run(spentId('execution', String(row['execution_id'])));
    statements.spend.run(spentId('ticket', String(row['ticket_id'])));
  }
  const approvals = statements.pruneApprovals.all(before, prunedAtOnce);
  statements.raiseFloor.run(latest(executions.map((row) => Number(row['ends_at']))));
  statements.raiseApprovalsFloor.run(latest(approvals.map((row) => Number(row['expires_at']))));
  return executions.length + approvals.length;
}

function latest(times: readonly number[]): number {
  return times.reduce((latest, time) => Math.max(latest, time), 0);
}

function toFinished(row: Readonly<Record<string, unknown>>): FinishedExecution {
  return {
    executionId: String(row['execution_id']),
    ...toTexts(row),
    outputLogLength: Number(row['output_log_length']),
  };
}

function toTexts(row: Readonly<Record<string, unknown>>): ReceiptTexts {
  const { receipt_json: receiptJson, original_json: originalJson } = row;
  if (!(receiptJson instanceof Uint8Array))
    throw new TypeError('the journal holds a receipt that is not bytes');
  return originalJson instanceof Uint8Array ? { receiptJson, originalJson } : { receiptJson };
}

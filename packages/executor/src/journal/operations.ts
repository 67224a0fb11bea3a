import type { ConsumedApproval } from '@csc-fleet/common/approval';
import { CscError } from '@csc-fleet/common/errors';
import type { ChainedReceipt, ChainLink, ReceiptTexts } from '@csc-fleet/common/evidence';
import { isAlive } from '@csc-fleet/common/service';
import type {
  Adopted,
  FinishedExecution,
  LostTime,
  Redemption,
  Refusal,
  SealedReceipt,
  TicketUse,
} from './journal.ts';
import { findObjection, readMemory, spentId, submissionId } from './memory.ts';
import { toSpare } from './spare.ts';
import { readChain, type Statements, toTexts } from './statements.ts';

// A ticket that ended this long ago is refused by its own dates before the journal is asked, and by the floor should the
// clock go back.
const keptMs = 2 * 60 * 1000;
// Of one `prune`, so that no transaction holds the others up.
const prunedAtOnce = 200;
// With each that comes to its end, in a commit that there is in any case: more than come, so that a journal shrinks however busy
// its host is.
const prunedBeside = 4;

/** Signs what is to take this place in the chain. Throws what its caller is to be told. */
export type SealHere = (link: ChainLink) => ChainedReceipt & Partial<Pick<SealedReceipt, 'outputLogLength'>>;

/** What an operation works with. */
export interface Hands {
  readonly statements: Statements;
  /** Who this process is to the others that share the journal. */
  readonly owner: string;
  /** Of who asked for the operation, who alone knows what is signed. */
  readonly seal: SealHere;
}

/** All that changes the journal. Each is called within a transaction, which is undone where it throws. */
export const operations = {
  redeem: ({ statements, owner }: Hands, redemption: Redemption) => redeem(statements, owner, redemption),
  refuse: (hands: Hands, refusal: Omit<Refusal, 'seal'>) => refuse(hands, refusal),
  progress: ({ statements }: Hands, executionId: string, draft: string) =>
    void statements.setDraft.run(draft, executionId),
  finish: (hands: Hands, executionId: string) => finish(hands, executionId),
  putReceipt: ({ statements }: Hands, executionId: string, texts: ReceiptTexts) =>
    void statements.putReceipt.run(texts.receiptJson, texts.originalJson ?? null, executionId),
  rename: ({ statements }: Hands, executionId: string, to: string) =>
    void statements.rename.run(to, executionId),
  acknowledge: ({ statements }: Hands, executionId: string, now: Date) => {
    statements.acknowledge.run(now.getTime(), executionId);
    prune(statements, now, prunedBeside);
  },
  beginEpoch: ({ statements }: Hands, now: Date, lost: LostTime) =>
    beginEpoch(statements, now.getTime(), lost),
  adopt: ({ statements, owner }: Hands) => adopt(statements, owner),
  prune: ({ statements }: Hands, now: Date) => prune(statements, now, prunedAtOnce),
  disown: ({ statements, owner }: Hands) => void statements.disown.run(owner),
};

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

function refuse({ statements, owner, seal }: Hands, refusal: Omit<Refusal, 'seal'>): ReceiptTexts {
  const { ticketId, executionId, expiresAt, refusedAt } = refusal;
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

function finish({ statements, seal }: Hands, executionId: string): FinishedExecution {
  const row = statements.find.get(executionId);
  if (row === undefined) {
    throw new CscError('EXECUTION_UNKNOWN', `the journal has no execution ${executionId}`);
  }
  if (row['receipt_json'] !== null) return toFinished(row);
  const { receiptJson, originalJson, outputLogLength = 0 } = addToChain(statements, seal);
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
function prune(statements: Statements, now: Date, atMost: number): number {
  const before = now.getTime() - keptMs;
  const executions = statements.executionsOver.all(before, atMost);
  for (const row of executions) {
    const executionId = String(row['execution_id']);
    statements.forgetExecution.run(executionId);
    statements.spend.run(spentId('execution', executionId));
    statements.spend.run(spentId('ticket', String(row['ticket_id'])));
  }
  const approvals = statements.approvalsOver.all(before, atMost);
  for (const row of approvals) statements.forgetApproval.run(String(row['approval_id']));
  if (executions.length > 0)
    statements.raiseFloor.run(latest(executions.map((row) => Number(row['ends_at']))));
  if (approvals.length > 0)
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

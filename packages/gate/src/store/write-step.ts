import { CscError } from '@csc-fleet/common/errors';
import { ExecutionEvent } from '@csc-fleet/common/messages';
import { sql } from 'kysely';
import { insertRow, lastSequence, type Otherwise, usageOf } from './hot-queries.ts';
import { type NodeSqlite, queries } from './node-sqlite.ts';
import type {
  ExecutionChange,
  IdempotencyKeyTable,
  NewAudit,
  StoredReceipt,
  WithdrawnOffer,
} from './tables.ts';

/** What a caller calls a submission. */
export type IdempotencyKey = Omit<IdempotencyKeyTable, 'execution_id'>;

/** Bytes that a step stores for a principal, and how many may be stored for it in one day. */
export interface Usage {
  readonly principal: string;
  readonly now: Date;
  readonly bytes: number;
  readonly bytesPerDay: number;
}

/** One step of an execution: what changes with it in its row, the events it adds, the receipt that ends it. */
export interface Step {
  readonly change: ExecutionChange;
  readonly events: readonly ExecutionEvent[];
  readonly receipt?: StoredReceipt | undefined;
  /** An offer that was not answered, and is not to be any more. */
  readonly withdrawn?: WithdrawnOffer | undefined;
  /** Ids of single_execution approvals that this step uses up. */
  readonly approvals?: readonly string[];
  /** What it costs its principal of what is stored for it in a day. Absent: nothing. */
  readonly usage?: Usage | undefined;
  /** Stands for this execution from now on. */
  readonly key?: IdempotencyKey | undefined;
  /** What is written of it for who looks at the gate's doings, with it or not at all. */
  readonly audit?: readonly NewAudit[];
  /** Milliseconds that it may wait for others to share its commit with. Absent: none. */
  readonly withinMs?: number;
}

/** Writes what a step adds beside its row. Throws APPROVAL_INVALID. */
export function writeStep(sqlite: NodeSqlite, executionId: string, step: Step): void {
  for (const approvalId of step.approvals ?? []) useApproval(sqlite, approvalId, executionId);
  for (const event of step.events)
    insertRow(sqlite, 'events', {
      execution_id: executionId,
      sequence: event.sequence,
      event: ExecutionEvent.encode(event).finish(),
    });
  for (const audit of step.audit ?? []) insertRow(sqlite, 'audit', audit);
  if (step.withdrawn !== undefined) keepWithdrawn(sqlite, executionId, step.withdrawn);
  if (step.receipt !== undefined) {
    const { receiptJson, originalJson } = step.receipt;
    const original = originalJson.length === 0 ? null : originalJson;
    const row = { execution_id: executionId, receipt_json: receiptJson, original_json: original };
    insertRow(sqlite, 'receipts', row);
  }
}

// Of one execution and executor. A host that loses offers over and over rests ever longer: the ticket of the ninth but
// last is over long before.
const maxWithdrawn = 8;

// Those without a receipt make room, the oldest first. Where each has one, there is evidence enough.
function keepWithdrawn(sqlite: NodeSqlite, executionId: string, offer: WithdrawnOffer): void {
  const known = sqlite.all(
    queries
      .selectFrom('withdrawn_offers')
      .select(['ticket_id', 'receipt_json'])
      .where('execution_id', '=', executionId)
      .where('executor_id', '=', offer.executor_id)
      .orderBy(sql`rowid`),
  );
  if (known.length >= maxWithdrawn) {
    const oldest = known.find((it) => it.receipt_json === null);
    if (oldest === undefined) return;
    sqlite.run(queries.deleteFrom('withdrawn_offers').where('ticket_id', '=', oldest.ticket_id));
  }
  sqlite.run(
    queries
      .insertInto('withdrawn_offers')
      .values({ ...offer, execution_id: executionId, receipt_json: null })
      .onConflict((it) => it.column('ticket_id').doNothing()),
  );
}

/** Events with the numbers that follow those on disk. */
export function numberEvents(
  sqlite: NodeSqlite,
  executionId: string,
  events: readonly ExecutionEvent[],
): readonly ExecutionEvent[] {
  if (events.length === 0) return events;
  const before = lastSequence(sqlite, executionId);
  return events.map((event, index) => ({ ...event, sequence: before + index + 1 }));
}

/** False where the key stands for another execution. */
export function takeKey(sqlite: NodeSqlite, executionId: string, key: IdempotencyKey | undefined): boolean {
  if (key === undefined) return true;
  const row = { ...key, execution_id: executionId };
  return insertRow(sqlite, 'idempotency_keys', row, unlessTaken) > 0;
}

const unlessTaken: Otherwise<'idempotency_keys'> = {
  name: 'unless taken',
  add: (query) => query.onConflict((it) => it.columns(['principal', 'idempotency_key']).doNothing()),
};

function useApproval(sqlite: NodeSqlite, approvalId: string, executionId: string): void {
  const row = { approval_id: approvalId, execution_id: executionId };
  if (insertRow(sqlite, 'approvals_used', row, unlessUsed) > 0) return;
  throw new CscError('APPROVAL_INVALID', `the approval ${approvalId} was used up by another execution`);
}

const unlessUsed: Otherwise<'approvals_used'> = {
  name: 'unless used',
  add: (query) => query.onConflict((it) => it.column('approval_id').doNothing()),
};

const dayMs = 86_400_000;

/**
 * Books what is stored for a principal; in the transaction that stores it, so that it survives a restart. Throws
 * RATE_LIMITED, with the time to the next day (UTC), where it would be too much.
 */
export function chargeUsage(sqlite: NodeSqlite, usage: Usage | undefined): void {
  if (usage === undefined) return;
  const { principal, now, bytes, bytesPerDay } = usage;
  const day = Math.floor(now.getTime() / dayMs);
  const known = usageOf(sqlite, principal);
  const stored = (known?.day === day ? known.bytes : 0) + bytes;
  if (stored > bytesPerDay) throw tooMuch(bytesPerDay, (day + 1) * dayMs - now.getTime());
  insertRow(sqlite, 'usage', { principal, day, bytes: stored }, orReplace);
}

const orReplace: Otherwise<'usage'> = {
  name: 'or replace',
  add: (query) =>
    query.onConflict((it) =>
      it
        .column('principal')
        .doUpdateSet(({ ref }) => ({ day: ref('excluded.day'), bytes: ref('excluded.bytes') })),
    ),
};

function tooMuch(bytesPerDay: number, retryAfterMs: number): CscError {
  const message = `this gate stores ${bytesPerDay} bytes a day for each identity, and this would be more: submit smaller contracts, wait until 00:00 UTC, or ask the gate's operator to raise limits.stored_bytes_per_day`;
  return new CscError('RATE_LIMITED', message, { retryAfterMs });
}

import { CscError } from '@csc-fleet/common/errors';
import { ExecutionEvent } from '@csc-fleet/common/messages';
import { type Kysely, sql } from 'kysely';
import { insertRow, lastSequence, type Otherwise, usageOf } from './hot-queries.ts';
import type {
  ExecutionChange,
  IdempotencyKeyTable,
  NewAudit,
  StoredReceipt,
  Tables,
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
export async function writeStep(transaction: Kysely<Tables>, executionId: string, step: Step): Promise<void> {
  for (const approvalId of step.approvals ?? []) await useApproval(transaction, approvalId, executionId);
  for (const event of step.events)
    await insertRow(transaction, 'events', {
      execution_id: executionId,
      sequence: event.sequence,
      event: ExecutionEvent.encode(event).finish(),
    });
  for (const audit of step.audit ?? []) await insertRow(transaction, 'audit', audit);
  if (step.withdrawn !== undefined) await keepWithdrawn(transaction, executionId, step.withdrawn);
  if (step.receipt !== undefined) {
    const { receiptJson, originalJson } = step.receipt;
    const original = originalJson.length === 0 ? null : originalJson;
    const row = { execution_id: executionId, receipt_json: receiptJson, original_json: original };
    await insertRow(transaction, 'receipts', row);
  }
}

// Of one execution and executor. A host that loses offers over and over rests ever longer: the ticket of the ninth but
// last is over long before.
const maxWithdrawn = 8;

// Those without a receipt make room, the oldest first. Where each has one, there is evidence enough.
async function keepWithdrawn(
  transaction: Kysely<Tables>,
  executionId: string,
  offer: WithdrawnOffer,
): Promise<void> {
  const known = await transaction
    .selectFrom('withdrawn_offers')
    .select(['ticket_id', 'receipt_json'])
    .where('execution_id', '=', executionId)
    .where('executor_id', '=', offer.executor_id)
    .orderBy(sql`rowid`)
    .execute();
  if (known.length >= maxWithdrawn) {
    const oldest = known.find((it) => it.receipt_json === null);
    if (oldest === undefined) return;
    await transaction.deleteFrom('withdrawn_offers').where('ticket_id', '=', oldest.ticket_id).execute();
  }
  await transaction
    .insertInto('withdrawn_offers')
    .values({ ...offer, execution_id: executionId, receipt_json: null })
    .onConflict((it) => it.column('ticket_id').doNothing())
    .execute();
}

/** Events with the numbers that follow those on disk. */
export async function numberEvents(
  transaction: Kysely<Tables>,
  executionId: string,
  events: readonly ExecutionEvent[],
): Promise<readonly ExecutionEvent[]> {
  if (events.length === 0) return events;
  const before = await lastSequence(transaction, executionId);
  return events.map((event, index) => ({ ...event, sequence: before + index + 1 }));
}

/** False where the key stands for another execution. */
export async function takeKey(
  transaction: Kysely<Tables>,
  executionId: string,
  key: IdempotencyKey | undefined,
): Promise<boolean> {
  if (key === undefined) return true;
  const row = { ...key, execution_id: executionId };
  return (await insertRow(transaction, 'idempotency_keys', row, unlessTaken)) > 0;
}

const unlessTaken: Otherwise<'idempotency_keys'> = {
  name: 'unless taken',
  add: (query) => query.onConflict((it) => it.columns(['principal', 'idempotency_key']).doNothing()),
};

async function useApproval(
  transaction: Kysely<Tables>,
  approvalId: string,
  executionId: string,
): Promise<void> {
  const row = { approval_id: approvalId, execution_id: executionId };
  if ((await insertRow(transaction, 'approvals_used', row, unlessUsed)) > 0) return;
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
export async function chargeUsage(transaction: Kysely<Tables>, usage: Usage | undefined): Promise<void> {
  if (usage === undefined) return;
  const { principal, now, bytes, bytesPerDay } = usage;
  const day = Math.floor(now.getTime() / dayMs);
  const known = await usageOf(transaction, principal);
  const stored = (known?.day === day ? known.bytes : 0) + bytes;
  if (stored > bytesPerDay) throw tooMuch(bytesPerDay, (day + 1) * dayMs - now.getTime());
  await insertRow(transaction, 'usage', { principal, day, bytes: stored }, orReplace);
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

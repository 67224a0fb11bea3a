import { CscError } from '@csc-fleet/common/errors';
import type { Kysely } from 'kysely';
import type { Tables } from './tables.ts';

/** Bytes that a step stores for a principal, and how many may be stored for it in one day. */
export interface Usage {
  readonly principal: string;
  readonly now: Date;
  readonly bytes: number;
  readonly bytesPerDay: number;
}

const dayMs = 86_400_000;

/**
 * Books what is stored for a principal; in the transaction that stores it, so that it survives a restart. Throws
 * RATE_LIMITED, with the time to the next day (UTC), where it would be too much.
 */
export async function chargeUsage(transaction: Kysely<Tables>, usage: Usage | undefined): Promise<void> {
  if (usage === undefined) return;
  const { principal, now, bytes, bytesPerDay } = usage;
  const day = Math.floor(now.getTime() / dayMs);
  const known = await transaction
    .selectFrom('usage')
    .selectAll()
    .where('principal', '=', principal)
    .executeTakeFirst();
  const stored = (known?.day === day ? known.bytes : 0) + bytes;
  if (stored > bytesPerDay) throw tooMuch(bytesPerDay, (day + 1) * dayMs - now.getTime());
  await transaction
    .insertInto('usage')
    .values({ principal, day, bytes: stored })
    .onConflict((it) => it.column('principal').doUpdateSet({ day, bytes: stored }))
    .execute();
}

function tooMuch(bytesPerDay: number, retryAfterMs: number): CscError {
  const message = `this gate stores ${bytesPerDay} bytes a day for each identity, and this would be more: submit smaller contracts, wait until 00:00 UTC, or ask the gate's operator to raise limits.stored_bytes_per_day`;
  return new CscError('RATE_LIMITED', message, { retryAfterMs });
}

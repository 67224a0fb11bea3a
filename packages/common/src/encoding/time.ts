import { CscError } from '../errors/index.ts';

// RFC 3339 §5.6, with as many fraction digits as Python (6) and Go (9) write.
const rfc3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/**
 * The moment that an RFC 3339 text names, cut to milliseconds; undefined where it names none: no time zone,
 * 30 February, hour 24, a leap second.
 */
export function parseTimestamp(text: string): Date | undefined {
  const match = rfc3339.exec(text);
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const offset = offsetMinutes(match[8], Number(match[9]), Number(match[10]));
  if (offset === undefined || hour > 23 || minute > 59 || second > 59) return undefined;
  const local = new Date(0);
  local.setUTCFullYear(year, month - 1, day);
  if (local.getUTCMonth() !== month - 1 || local.getUTCDate() !== day) return undefined;
  local.setUTCHours(hour, minute - offset, second, Number((match[7] ?? '').slice(0, 3).padEnd(3, '0')));
  return local;
}

function offsetMinutes(sign: string | undefined, hours: number, minutes: number): number | undefined {
  if (sign === undefined) return 0;
  if (hours > 23 || minutes > 59) return undefined;
  return (sign === '-' ? -1 : 1) * (hours * 60 + minutes);
}

/** RFC 3339 in UTC with milliseconds. Throws ENCODING_INVALID for an invalid Date or a year of five digits. */
export function toTimestamp(at: Date): string {
  const year = at.getUTCFullYear();
  if (!(year >= 0 && year <= 9999)) {
    throw new CscError('ENCODING_INVALID', 'a time must be a valid one, of the years 0000 to 9999');
  }
  return at.toISOString();
}

/** Where the time comes from, so that tests can say what it is. */
export interface Clock {
  now(): Date;
}

/** The machine's own time. */
export const systemClock: Clock = { now: () => new Date() };

/** The earlier of both; undefined is later than all. */
export function earliest(one: Date, other: Date | undefined): Date {
  return other !== undefined && other < one ? other : one;
}

import * as z from 'zod';

/** How long a text may be, in Unicode code points, as JSON Schema and Python count. */
export interface TextBounds {
  readonly min: number;
  readonly max: number;
}

/** A text of `min` to `max` Unicode code points. */
export function boundedText({ min, max }: TextBounds) {
  return z
    .string()
    .refine((text) => isWithin(text, min, max), {
      error: ({ input }) => boundsMessage(String(input), min, max),
    })
    .meta({ ...(min > 0 ? { minLength: min } : {}), maxLength: max });
}

/** A text that is not empty. */
export const nonEmptyText = z
  .string()
  .refine((text) => text !== '', { error: 'must not be empty' })
  .meta({ minLength: 1 });

// The launcher's argument list is separated by NUL bytes, and no environment can hold one.
/** A name of something the host knows: not empty, without NUL. */
export const name = nonEmptyText
  .refine((text) => !text.includes('\0'), { error: 'must not hold a NUL character' })
  .meta({ minLength: 1, pattern: '^[^\\u0000]*$' });

// A code point is one or two UTF-16 units, so most texts need no counting.
function isWithin(text: string, min: number, max: number): boolean {
  const { length } = text;
  if (length < min || length > 2 * max) return false;
  if (length <= max && length >= 2 * min) return true;
  const points = countCodePoints(text);
  return points >= min && points <= max;
}

function countCodePoints(text: string): number {
  let points = 0;
  for (const _ of text) points += 1;
  return points;
}

function boundsMessage(text: string, min: number, max: number): string {
  const length = countCodePoints(text);
  if (length === 0) return 'must not be empty';
  return length < min
    ? `must have at least ${min} characters, not ${length}`
    : `must have at most ${max} characters, not ${length}`;
}

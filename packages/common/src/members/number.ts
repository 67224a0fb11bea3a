import * as z from 'zod';

/** An integer from `min` to `max`, both included. */
export function integer({ min, max }: { readonly min: number; readonly max?: number }) {
  const least = z.int().min(min);
  return max === undefined ? least : least.max(max);
}

/** A number of things: 0 or more. */
export const count = integer({ min: 0 });

/** One of a closed list of words. */
export function oneOf<const T extends readonly [string, ...string[]]>(words: T) {
  return z.enum(words);
}

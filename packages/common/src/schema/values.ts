import * as z from 'zod';
import { nonEmptyText, timestamp } from './texts.ts';

// Members that are bounded alike share one: making it takes three steps, and whatever starts makes dozens.
const integers = new Map<string, z.ZodInt>();

/** An integer from `min` to `max`, both included. */
export function integer({ min, max }: { readonly min: number; readonly max?: number }): z.ZodInt {
  const key = `${min} ${max}`;
  const made = integers.get(key) ?? makeInteger(min, max);
  integers.set(key, made);
  return made;
}

function makeInteger(min: number, max: number | undefined): z.ZodInt {
  const least = z.int().min(min);
  return max === undefined ? least : least.max(max);
}

/** A number of things: 0 or more. */
export const count = integer({ min: 0 });

/** One of a closed list of words. */
export function oneOf<const T extends readonly [string, ...string[]]>(words: T) {
  return z.enum(words);
}

/** A list of at least `min` items in which none comes twice. */
export function uniqueList<T extends z.ZodType<string | Readonly<Record<string, string>>>>(
  item: T,
  min: number,
) {
  // Both at once: each step makes a list anew.
  return z
    .array(item)
    .check(...(min > 0 ? [z.minLength(min)] : []), unique)
    .meta({ uniqueItems: true });
}

// Runs beside the items' own faults, so that all come at once; the value may be anything.
const unique = z.superRefine<unknown>(refineUnique, { when: () => true });

function refineUnique(value: unknown, context: z.core.$RefinementCtx): void {
  if (!Array.isArray(value)) return;
  const seen = new Map<unknown, number>();
  for (const [index, item] of value.entries()) {
    // An object is the same as another that says the same, in whatever order.
    const key = typeof item === 'object' && item !== null ? JSON.stringify(sortedEntries(item)) : item;
    const earlier = seen.get(key);
    if (earlier === undefined) seen.set(key, index);
    else
      context.addIssue({
        code: 'custom',
        path: [index],
        message: `is the same as item ${earlier}: say it once`,
      });
  }
}

// By name alone: a sort without a comparison makes texts of the values, which need not be possible.
function sortedEntries(item: object): [string, unknown][] {
  return Object.entries(item).sort(([one], [other]) => (one < other ? -1 : 1));
}

/** The `signature` member of a signed artifact (protocol §5). Its bytes are judged where it is verified. */
export const signatureMember = z
  .strictObject({
    algorithm: z.literal('ed25519'),
    key_id: nonEmptyText,
    signed_at: timestamp,
    signature: nonEmptyText.meta({ contentEncoding: 'base64' }),
  })
  .meta({
    id: 'Signature',
    description:
      'Ed25519 over the canonical JSON of the whole object without signature.signature; the other members of the signature are signed too.',
  });

/** The `signature` member of a signed artifact. */
export type Signature = z.infer<typeof signatureMember>;

/** How OIDC tokens may be signed. Never `none`, and never by a secret that their verifier would have to know (HS256). */
export const tokenAlgorithms = ['RS256', 'ES256', 'EdDSA'] as const;
export type TokenAlgorithm = (typeof tokenAlgorithms)[number];

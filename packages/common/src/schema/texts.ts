import * as z from 'zod';
import { parseTimestamp } from '../encoding/index.ts';
import { quoteBriefly } from '../errors/index.ts';

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

/** How many labels an executor may have, or be asked to have. */
export const maxLabels = 64;

/** The name of a label of an executor. */
export const labelName = z
  .string()
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/,
    'must be 1 to 63 letters, digits, ".", "_", "/" and "-", the first and the last a letter or a digit',
  );

// U+FFFD stands for bytes that were not UTF-8.
/** Its value: at most 255 UTF-16 units, without control characters; perhaps empty. */
export const labelValue = z
  .string()
  .max(255, 'must have at most 255 characters')
  .regex(/^[^\p{Cc}\ufffd]*$/u, 'must be UTF-8 without control characters');

const hex = /^[A-Fa-f0-9]{64}$/;
const tagged = /^sha256:[A-Fa-f0-9]{64}$/;

/** SHA-256 in hex. Both cases are read; this project writes lower case. */
export const sha256Member = z
  .string()
  .refine((text) => hex.test(text), { error: 'must be a SHA-256 in hex (64 digits)' })
  .meta({ pattern: hex.source });

/** SHA-256 in hex behind `sha256:`, as receipts give the hashes of output. */
export const taggedSha256Member = z
  .string()
  .refine((text) => tagged.test(text), { error: 'must be "sha256:" and a SHA-256 in hex (64 digits)' })
  .meta({ pattern: tagged.source });

/** The epoch of an executor: made with its journal, so that another one means that this one's memory is gone. */
export const epochMember = z.string().regex(/^[0-9a-f]{32}$/, 'must be 16 random bytes in lower-case hex');

/** RFC 3339 with a time zone, with as many fraction digits as its writer likes (Python writes six). */
export const timestamp = z
  .string()
  .refine((text) => parseTimestamp(text) !== undefined, {
    error: 'must be an RFC 3339 time with a time zone, for example 2026-03-20T10:00:00Z',
  })
  .meta({ format: 'date-time' });

/**
 * The version member of an artifact, with an error of its own for any other version.
 * @param what names the artifact in that error, for example `contract`
 */
export function versionMember<const T extends string>(what: string, version: T) {
  return z.literal(version, { error: ({ input }) => unsupportedVersion(what, input, version) });
}

/** Undefined, for the usual message, where there is no version at all. */
export function unsupportedVersion(what: string, given: unknown, readable: string): string | undefined {
  if (given === undefined) return undefined;
  const shown = typeof given === 'string' ? quoteBriefly(given) : `of type ${typeof given}`;
  return `unsupported ${what} version ${shown}; this build reads ${readable}`;
}

/** Labels that an executor has or must have. */
export const labelsMember = z
  .record(labelName, labelValue)
  .refine((labels) => Object.keys(labels).length <= maxLabels, {
    error: `must have at most ${maxLabels} labels`,
  });

/** A group of approvers.yaml. */
export const groupName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be 1 to 63 letters, digits, ".", "_" and "-"');

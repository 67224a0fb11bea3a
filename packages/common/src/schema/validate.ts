import type * as z from 'zod';
import { type Encodable, type JsonValue, parseStrictJson } from '../encoding/index.ts';
import { type Fault, faulty, type Parsed, parsed, quoteBriefly, zodFaults } from '../errors/index.ts';
import { takeAsIs } from './accepts.ts';
import { withFewFaults } from './few-faults.ts';

const maxFaults = 100;

/**
 * What a schema makes of a JSON value: the artifact, which is the value itself where nothing is added to it, or every
 * fault (at most 100) in plain words.
 */
export function validate<T extends z.ZodType>(schema: T, value: Encodable): Parsed<z.output<T>> {
  const taken = takeAsIs(schema, value);
  if (taken !== undefined) return parsed(taken as z.output<T>);
  try {
    const result = schema.safeParse(withFewFaults(schema, value, maxFaults), { error: describeIssue });
    return result.success ? parsed(result.data) : { ok: false, faults: bounded(zodFaults(result.error)) };
  } catch (error) {
    // zod passes issues on as call arguments, and from about 120,000 of them the stack does not suffice.
    if (error instanceof RangeError) return faulty('has too many faults to list them');
    throw error;
  }
}

/** Reads an artifact from JSON bytes: strict JSON (protocol §1) of at most `maxBytes`, then `fromJson`. */
export function parseArtifact<T>(
  bytes: Uint8Array,
  maxBytes: number,
  fromJson: (value: JsonValue) => Parsed<T>,
): Parsed<T> {
  const json = parseStrictJson(bytes, { maxBytes });
  return json.ok ? fromJson(json.value) : json;
}

function bounded(faults: readonly Fault[]): readonly Fault[] {
  if (faults.length <= maxFaults) return faults;
  return [...faults.slice(0, maxFaults), { path: '', message: `has more faults than these ${maxFaults}` }];
}

const nouns: Readonly<Record<string, string>> = {
  array: 'an array',
  boolean: 'true or false',
  int: 'an integer',
  number: 'an integer',
  object: 'an object',
  string: 'a string',
};

/** What is wrong with a member and what would be right, in words for the document's author. */
function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === undefined) return `is required${dueText(issue)}`;
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${noun(issue.expected)}, not ${kindOf(issue.input)}`;
    case 'invalid_value':
      return `must be ${listed(issue.values)}, not ${shown(issue.input)}`;
    case 'too_small':
      return boundMessage(issue.origin, 'at least', Number(issue.minimum), issue.input);
    case 'too_big':
      return boundMessage(issue.origin, 'at most', Number(issue.maximum), issue.input);
    default:
      return undefined;
  }
}

function dueText(issue: z.core.$ZodRawIssue): string {
  if (issue.code === 'invalid_type') return ` (${noun(issue.expected)})`;
  return issue.code === 'invalid_value' ? ` (${listed(issue.values)})` : '';
}

function boundMessage(origin: string, bound: string, limit: number, input: unknown): string {
  if (origin !== 'array') return `must be ${bound} ${limit}, not ${shown(input)}`;
  const has = Array.isArray(input) ? input.length : 'another number';
  return `must have ${bound} ${limit} ${limit === 1 ? 'item' : 'items'}, not ${has}`;
}

function listed(values: readonly unknown[]): string {
  const words = values.map(String);
  return words.length === 1 ? `"${words[0]}"` : `one of ${words.join(', ')}`;
}

function noun(expected: string): string {
  return nouns[expected] ?? expected;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return noun(typeof value);
}

function shown(value: unknown): string {
  if (typeof value === 'string') return quoteBriefly(value);
  return typeof value === 'number' ? String(value) : kindOf(value);
}

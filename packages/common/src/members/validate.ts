import type * as z from 'zod';
import { type JsonValue, parseStrictJson } from '../encoding/index.ts';
import { type Fault, faulty, type Parsed, parsed, zodFaults } from '../errors/index.ts';
import { describeIssue } from './describe-issue.ts';

const maxFaults = 100;

/** What a schema makes of a JSON value: the artifact, or every fault (at most 100) in plain words. */
export function validate<T extends z.ZodType>(schema: T, value: JsonValue): Parsed<z.output<T>> {
  try {
    const result = schema.safeParse(value, { error: describeIssue });
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

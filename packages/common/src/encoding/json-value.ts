/** What JSON can hold. In this protocol a number is always an integer within ±(2^53 - 1). */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** A JSON object, as every artifact is. */
export type JsonObject = { [key: string]: JsonValue };

/** Narrows to an object; false for arrays and null. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * What canonical JSON can be written of: JSON that nobody changes meanwhile. A member that is undefined is left out, so
 * that the types of artifacts, which have optional members, are of this one too.
 */
export type Encodable = null | boolean | number | string | readonly Encodable[] | EncodableObject;

/** An object of them. */
export type EncodableObject = { readonly [key: string]: Encodable | undefined };

/** Objects and arrays within each other, in any document that is read. */
export const maxDepth = 32;

/** Faults that one document is told of; one more says that there are more. */
export const maxFaults = 100;

const poisonous: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** True for member names that reach an object's prototype in code that copies members carelessly. */
export function isPoisonous(key: string): boolean {
  return poisonous.has(key);
}

/**
 * Bytes that each artifact's text has at most: no reader, bound or option has a figure of its own. A receipt may be
 * longer than its contract, as it has an entry for each artifact.
 */
export const artifactBytes = {
  contract: 1_048_576,
  policy: 524_288,
  decision: 1_048_576,
  approval: 65_536,
  ticket: 65_536,
  submission: 65_536,
  receipt: 8 * 1_048_576,
  // A file of a policy repository, as far as one message of a gate holds it with what is around it.
  ownersFile: 8 * 1_048_576 - 1024,
  resolution: 8192,
  executorKey: 8192,
  keyRing: 1_048_576,
} as const;

/** What JSON can hold. In this protocol a number is always an integer within ±(2^53 - 1). */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** A JSON object, as every artifact is. */
export type JsonObject = { [key: string]: JsonValue };

/** Narrows to an object; false for arrays and null. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Objects and arrays within each other, in any document that is read. */
export const maxDepth = 32;

/** Faults that one document is told of; one more says that there are more. */
export const maxFaults = 100;

const poisonous: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** True for member names that reach an object's prototype in code that copies members carelessly. */
export function isPoisonous(key: string): boolean {
  return poisonous.has(key);
}

/** Objects and arrays within each other, in any document that is read. */
export const maxDepth = 32;

/** Faults that one document is told of; one more says that there are more. */
export const maxFaults = 100;

const poisonous: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** True for member names that reach an object's prototype in code that copies members carelessly. */
export function isPoisonous(key: string): boolean {
  return poisonous.has(key);
}

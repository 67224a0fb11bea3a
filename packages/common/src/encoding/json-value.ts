/** What JSON can hold. In this protocol a number is always an integer within ±(2^53 - 1). */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** A JSON object, as every artifact is. */
export type JsonObject = { [key: string]: JsonValue };

/** Narrows to an object; false for arrays and null. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

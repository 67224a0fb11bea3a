import { CscError } from '../errors/index.ts';
import type { Encodable, JsonValue } from './json-value.ts';
import { compareCodePoints } from './text.ts';

/** How canonicalJson treats null members. */
export interface CanonicalOptions {
  /** Keep them as `null`, as in what the reference signs. Default: they are left out. */
  readonly keepNulls?: boolean;
}

// Deeper than any artifact (32); stops a cycle before the stack does.
const maxDepth = 256;

/**
 * The one text of a value that is hashed and signed (protocol §4): members sorted by code point, no white space,
 * non-ASCII literal; byte for byte what Python's
 * `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)` writes.
 * Members that are undefined are left out. Throws ENCODING_INVALID for what has no such text: a fraction, an
 * integer beyond 2^53 - 1, a lone surrogate, anything that is not JSON.
 */
export function canonicalJson(value: Encodable, options: CanonicalOptions = {}): string {
  const keepNulls = options.keepNulls === true;
  return encodeSorted(value, keepNulls) ?? encode(value, keepNulls, 0);
}

/**
 * The canonical text of a value where that is what JSON.stringify writes; undefined where it is another text, or may
 * be. For values that mostly are in order already: to look costs a sixth of putting them in order.
 */
export function canonicalAsWritten(value: JsonValue, written: string): string | undefined {
  return isInOrder(value, 0) && isOrdinary(written) ? written : undefined;
}

/** canonicalJson as UTF-8. */
export function canonicalBytes(value: Encodable, options: CanonicalOptions = {}): Buffer {
  return Buffer.from(canonicalJson(value, options), 'utf8');
}

/**
 * The same as `encode`, in less than two thirds of its time, as JSON.stringify writes a copy whose members are in order: of what
 * programs and people write in ASCII or near it. Undefined for anything else, and for all that there is no such text of.
 */
function encodeSorted(value: unknown, keepNulls: boolean): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const sorted = toSorted(value, keepNulls, 0);
  if (sorted === undefined) return undefined;
  const text = JSON.stringify(sorted);
  return isOrdinary(text) ? text : undefined;
}

// Beyond, members may be in another order; an escaped surrogate is half of a character.
function isOrdinary(text: string): boolean {
  return !beyondBasic.test(text) && !text.includes('\\ud');
}

// With no member that is left out, and numbers that are integers.
function isInOrder(value: JsonValue, depth: number): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  if (typeof value !== 'object' || value === null) return true;
  if (depth === simpleDepth) return false;
  if (Array.isArray(value)) return value.every((item) => isInOrder(item, depth + 1));
  let before: string | undefined;
  for (const key of Object.keys(value)) {
    const member = value[key];
    if (member === undefined || member === null || (before !== undefined && before > key)) return false;
    if (typeof member !== 'string' && !isInOrder(member, depth + 1)) return false;
    before = key;
  }
  return true;
}

// No artifact is deeper.
const simpleDepth = 32;

/** A copy of plain objects and arrays, members in order; undefined where that cannot be. */
function toSorted(value: object, keepNulls: boolean, depth: number): object | undefined {
  if (depth === simpleDepth) return undefined;
  if (Array.isArray(value)) return toSortedItems(value, keepNulls, depth);
  if (!isPlainObject(value)) return undefined;
  const keys = sortKeys(Object.keys(value));
  const copy: Record<string, unknown> = {};
  for (let index = 0; index < keys.length; index += 1) {
    const key = keys[index] as string;
    // An object has members that are numbers first, and none that is called so.
    if (startsWithDigit(key) || key === '__proto__') return undefined;
    const member = value[key];
    if (member === undefined || (member === null && !keepNulls)) continue;
    const kept = isText(member) ? member : toSimple(member, keepNulls, depth);
    if (kept === undefined) return undefined;
    copy[key] = kept;
  }
  return copy;
}

function toSortedItems(items: readonly unknown[], keepNulls: boolean, depth: number): unknown[] | undefined {
  const copy: unknown[] = [];
  for (let index = 0; index < items.length; index += 1) {
    const item = items[index];
    const kept = isText(item) ? item : toSimple(item, keepNulls, depth);
    if (kept === undefined) return undefined;
    copy.push(kept);
  }
  return copy;
}

function toSimple(value: unknown, keepNulls: boolean, depth: number): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined;
  if (value === null || typeof value === 'boolean') return value;
  return typeof value === 'object' ? toSorted(value, keepNulls, depth + 1) : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function startsWithDigit(key: string): boolean {
  const unit = key.charCodeAt(0);
  return unit >= 0x30 && unit <= 0x39;
}

// `unknown`, as callers reach this with values that only the compiler believes to be JSON.
function encode(value: unknown, keepNulls: boolean, depth: number): string {
  if (typeof value === 'string') return encodeString(value);
  if (typeof value === 'number') return encodeInteger(value);
  if (value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (depth >= maxDepth) throw invalid(`nesting deeper than ${maxDepth}`);
  if (Array.isArray(value)) return encodeArray(value, keepNulls, depth);
  if (isPlainObject(value)) return encodeObject(value, keepNulls, depth);
  throw invalid(`a value of type ${typeof value}`);
}

// By index, so that a hole is refused like any other undefined.
function encodeArray(items: readonly unknown[], keepNulls: boolean, depth: number): string {
  let text = '[';
  for (let index = 0; index < items.length; index += 1) {
    if (index > 0) text += ',';
    text += encode(items[index], keepNulls, depth + 1);
  }
  return `${text}]`;
}

function encodeObject(value: Record<string, unknown>, keepNulls: boolean, depth: number): string {
  const keys = sortKeys(Object.keys(value));
  let text = '{';
  for (const key of keys) {
    const member = value[key];
    if (member === undefined || (member === null && !keepNulls)) continue;
    if (text.length > 1) text += ',';
    text += `${encodeString(key)}:${encode(member, keepNulls, depth + 1)}`;
  }
  return `${text}}`;
}

// The two orders differ only where a key has a unit from the surrogates up.
const beyondBasic = /[\ud800-\uffff]/;

// An artifact's objects have a dozen members, which are in order faster than a sort has begun; what has many is nobody's
// to make slow.
const fewKeys = 24;

function sortKeys(keys: string[]): string[] {
  if (keys.some((key) => beyondBasic.test(key))) return keys.sort(compareCodePoints);
  if (keys.length > fewKeys) return keys.sort();
  for (let end = 1; end < keys.length; end += 1) {
    const key = keys[end] ?? '';
    let at = end;
    for (let before = keys[at - 1]; before !== undefined && before > key; before = keys[at - 1]) {
      keys[at] = before;
      at -= 1;
    }
    keys[at] = key;
  }
  return keys;
}

// What stands in JSON as it is: ASCII from the blank on, without `"` and `\`.
const plain = /^[ !#-[\]-~]*$/;
// Longer, and JSON.stringify is the faster one.
const shortText = 64;

// JSON.stringify escapes just what Python does: the short escapes and lower-case \u00xx below 0x20.
function encodeString(text: string): string {
  if (text.length <= shortText && plain.test(text)) return `"${text}"`;
  if (!text.isWellFormed()) throw invalid('a lone surrogate, which UTF-8 cannot hold');
  return JSON.stringify(text);
}

function encodeInteger(value: number): string {
  if (!Number.isSafeInteger(value)) throw invalid('a number that is not an integer within ±(2^53 - 1)');
  return String(value);
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function invalid(what: string): CscError {
  return new CscError('ENCODING_INVALID', `canonical JSON cannot hold ${what}`);
}

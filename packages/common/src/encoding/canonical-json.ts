import { CscError } from '../errors/index.ts';
import type { Encodable } from './json-value.ts';
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
  return encode(value, options.keepNulls === true, 0);
}

/** canonicalJson as UTF-8. */
export function canonicalBytes(value: Encodable, options: CanonicalOptions = {}): Buffer {
  return Buffer.from(canonicalJson(value, options), 'utf8');
}

// `unknown`, as callers reach this with values that only the compiler believes to be JSON.
function encode(value: unknown, keepNulls: boolean, depth: number): string {
  if (typeof value === 'string') return encodeString(value);
  if (typeof value === 'number') return encodeInteger(value);
  if (value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (depth >= maxDepth) throw invalid(`nesting deeper than ${maxDepth}`);
  if (Array.isArray(value)) return `[${value.map((item) => encode(item, keepNulls, depth + 1)).join(',')}]`;
  if (isPlainObject(value)) return encodeObject(value, keepNulls, depth);
  throw invalid(`a value of type ${typeof value}`);
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

function sortKeys(keys: string[]): string[] {
  return keys.some((key) => beyondBasic.test(key)) ? keys.sort(compareCodePoints) : keys.sort();
}

// JSON.stringify escapes just what Python does: the short escapes and lower-case \u00xx below 0x20.
function encodeString(text: string): string {
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

import { isUtf8 } from 'node:buffer';
import { type Fault, faulty, type Parsed, parsed } from '../errors/index.ts';
import { toBuffer } from './bytes.ts';
import { scanJson } from './json-scanner.ts';
import { isPoisonous, type JsonValue } from './json-value.ts';

/** What a strict reader is told. */
export interface StrictOptions {
  /** A longer document is refused before it is looked at. */
  readonly maxBytes: number;
}

/**
 * Reads JSON and refuses what other readers would understand differently (protocol §1): duplicate keys, lone
 * surrogates, `__proto__`, `constructor` and `prototype`, nesting deeper than 32, fractions and integers beyond
 * 2^53 - 1, trailing bytes, a BOM, bytes that are not UTF-8. Gives every fault (at most 100), each with its member.
 */
export function parseStrictJson(bytes: Uint8Array, options: StrictOptions): Parsed<JsonValue> {
  const json = readStrictJson(bytes, options);
  return json.ok ? parsed(json.value.value) : json;
}

/** A value, and the text that it was read from. */
export interface StrictJson {
  readonly value: JsonValue;
  /** Undefined where it is another one than JSON.stringify writes of the value, or may be. */
  readonly written: string | undefined;
}

/** The same, for who needs the text of a value again. */
export function readStrictJson(bytes: Uint8Array, options: StrictOptions): Parsed<StrictJson> {
  const text = decodeStrictUtf8(bytes, options);
  if (!text.ok) return text;
  const value = tryParse(text.value);
  if (value !== undefined && isFaultless(text.value, value)) return parsed({ value, written: text.value });
  const faults: Fault[] = scanJson(text.value);
  if (faults.length > 0) return { ok: false, faults };
  // JSON.parse has the last word on the grammar; the two have not been seen to differ.
  return value === undefined ? faulty('is not valid JSON') : parsed({ value, written: undefined });
}

/**
 * True only where scanJson finds nothing, for half of its cost; false says nothing. Programs write JSON as JSON.stringify
 * does: a text that this writes of the value again has each key once, and its numbers as they are.
 */
function isFaultless(text: string, value: JsonValue): boolean {
  // Others have blanks from the first bracket on. An escape may stand for half a character, and is written again as it was.
  if (!text.startsWith('{"') || text.includes('\\ud')) return false;
  return isSimple(value, simpleDepth) && JSON.stringify(value) === text;
}

// No artifact is deeper, and JSON.stringify can write it whatever the stack holds already.
const simpleDepth = 12;

// Whole numbers, harmless keys, no great depth.
function isSimple(value: JsonValue, depth: number): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  if (typeof value !== 'object' || value === null) return true;
  if (depth === 0) return false;
  if (Array.isArray(value)) return value.every((item) => isSimple(item, depth - 1));
  for (const key of Object.keys(value)) {
    const member = value[key];
    if (isPoisonous(key) || (typeof member !== 'string' && !isSimple(member ?? null, depth - 1)))
      return false;
  }
  return true;
}

/** Undefined where the text is not JSON: JSON itself has no undefined. */
function tryParse(text: string): JsonValue | undefined {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return undefined;
  }
}

/** The text of a document that must be UTF-8, without a BOM and within its size. */
export function decodeStrictUtf8(bytes: Uint8Array, { maxBytes }: StrictOptions): Parsed<string> {
  if (bytes.length > maxBytes)
    return faulty(`is ${bytes.length} bytes long; at most ${maxBytes} are allowed`);
  if (!isUtf8(bytes)) return faulty('is not valid UTF-8');
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    return faulty('begins with a byte order mark: save it as UTF-8 without one');
  }
  return parsed(toBuffer(bytes).toString('utf8'));
}

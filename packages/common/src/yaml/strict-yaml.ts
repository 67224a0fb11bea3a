import { type Document, LineCounter, parseAllDocuments, type YAMLError } from 'yaml';
import type { JsonObject } from '../encoding/json-value.ts';
import { maxFaults } from '../encoding/json-value.ts';
import { decodeStrictUtf8, type StrictOptions } from '../encoding/strict-json.ts';
import { textPlace } from '../encoding/text.ts';
import { faulty, type Parsed } from '../errors/index.ts';
import { readYamlTree } from './yaml-tree.ts';

/**
 * Reads a YAML document so that every reader understands the same (protocol §2): one document, a mapping, without
 * duplicate keys, tags, merge keys, directives, fractions, keys that are not strings, or plain scalars that YAML 1.1
 * and 1.2 read differently. Anchors and aliases may be used in moderation. Gives every fault with its member.
 */
export function parseStrictYaml(bytes: Uint8Array, options: StrictOptions): Parsed<JsonObject> {
  const text = decodeStrictUtf8(withoutBom(bytes), options);
  if (!text.ok) return faulty(`failed to read: it ${text.faults[0]?.message}`);
  const odd = oddCharacter.exec(text.value);
  if (odd !== null)
    return faulty(`invalid YAML at ${textPlace(text.value, odd.index)}: ${oddMessage(odd[0])}`);
  const document = parseOne(text.value);
  return document.ok ? readYamlTree(document.value, text.value) : document;
}

// YAML allows a BOM, and Windows editors write one.
function withoutBom(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

// What YAML 1.1 takes for line breaks and 1.2 does not, and what 1.1 refuses.
const oddCharacter = /[\u0085\u2028\u2029\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]/;

function oddMessage(char: string): string {
  const code = char.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
  return `the character U+${code} must be written as an escape in double quotes`;
}

function parseOne(text: string): Parsed<Document.Parsed> {
  const lineCounter = new LineCounter();
  const documents = parseDocuments(text, lineCounter);
  if (documents === undefined) return tooDeep();
  const errors = documents.flatMap((document) => document.errors);
  if (errors.some((error) => error.message.includes(overflow))) return tooDeep();
  if (errors.length > 0) {
    return {
      ok: false,
      faults: errors
        .slice(0, maxFaults)
        .map((error) => ({ path: '', message: describe(error, lineCounter) })),
    };
  }
  const [document, second] = documents;
  if (second !== undefined) return faulty('invalid YAML: it holds more than one document');
  if (document === undefined) return faulty('must contain a YAML mapping');
  const { yaml, tags } = document.directives;
  if (yaml.explicit === true || Object.keys(tags).length > 1) {
    return faulty('invalid YAML: %YAML and %TAG directives are not allowed');
  }
  return { ok: true, value: document };
}

// What V8 says where the library's recursion has used up the stack; the library reports it like any error.
const overflow = 'Maximum call stack';

function tooDeep(): Parsed<never> {
  return faulty('invalid YAML: it is nested too deeply');
}

/** Undefined where the nesting overflows the library's stack. */
function parseDocuments(text: string, lineCounter: LineCounter): Document.Parsed[] | undefined {
  try {
    const documents = parseAllDocuments(text, {
      version: '1.2',
      schema: 'core',
      // The tree is read by our own code, which is linear and knows each member's path.
      uniqueKeys: false,
      merge: false,
      prettyErrors: false,
      logLevel: 'silent',
      lineCounter,
    });
    return [...documents];
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

// The library quotes the source in some messages.
function describe(error: YAMLError, lineCounter: LineCounter): string {
  const { line, col } = lineCounter.linePos(error.pos[0]);
  const message = error.message.replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ');
  return `invalid YAML at line ${line}, column ${col}: ${message.length > 160 ? `${message.slice(0, 160)}…` : message}`;
}

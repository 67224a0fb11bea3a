import {
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  parseTimestamp,
  toTimestamp,
} from '../encoding/index.ts';
import { type Fault, faulty, memberPath, type Parsed, parsed } from '../errors/index.ts';
import { parseBase64, toBase64 } from './base64.ts';
import { parsePublicKey } from './key-format.ts';
import type { KeyEntry } from './key-ring.ts';

const maxBytes = 1024 * 1024;
const members: ReadonlySet<string> = new Set([
  'key_id',
  'public_key',
  'owner',
  'not_before',
  'not_after',
  'revoked_at',
]);

/**
 * Reads a key ring file: `{"keys": [{key_id, public_key, owner?, not_before?, not_after?, revoked_at?}]}`, where
 * public_key is base64 of 32 bytes or SPKI PEM and the times are RFC 3339.
 */
export function parseKeyRing(bytes: Uint8Array): Parsed<KeyEntry[]> {
  const json = parseStrictJson(bytes, { maxBytes });
  if (!json.ok) return json;
  const document = json.value;
  if (!isJsonObject(document) || !Array.isArray(document['keys']) || Object.keys(document).length !== 1) {
    return faulty('must be an object with the one member "keys", an array');
  }
  const reader = new EntryReader();
  const entries = document['keys'].map((value, index) => reader.read(value, index));
  return reader.faults.length > 0 ? { ok: false, faults: reader.faults } : parsed(entries);
}

class EntryReader {
  readonly faults: Fault[] = [];
  private readonly ids = new Set<string>();

  /** An entry to use only where there are no faults. */
  read(value: JsonValue, index: number): KeyEntry {
    const path = ['keys', index];
    if (!isJsonObject(value))
      return this.fault(path, 'must be an object') ?? { keyId: '', publicKey: new Uint8Array() };
    for (const key of Object.keys(value)) {
      if (!members.has(key)) this.fault([...path, key], 'is not a known member');
    }
    return {
      keyId: this.keyId(value['key_id'], path),
      publicKey: this.publicKey(value['public_key'], path),
      ...optional('owner', this.text(value, 'owner', path)),
      ...optional('notBefore', this.time(value, 'not_before', path)),
      ...optional('notAfter', this.time(value, 'not_after', path)),
      ...optional('revokedAt', this.time(value, 'revoked_at', path)),
    };
  }

  private keyId(value: JsonValue | undefined, path: PropertyKey[]): string {
    const member = [...path, 'key_id'];
    if (typeof value !== 'string' || value === '') return this.fault(member, 'must be a text') ?? '';
    if (this.ids.has(value)) this.fault(member, 'stands for another key already');
    this.ids.add(value);
    return value;
  }

  private publicKey(value: JsonValue | undefined, path: PropertyKey[]): Uint8Array {
    const member = [...path, 'public_key'];
    const bytes =
      typeof value !== 'string'
        ? undefined
        : value.includes('-----')
          ? Buffer.from(value)
          : parseBase64(value);
    const key =
      bytes === undefined ? faulty('must be base64 of 32 bytes, or SPKI PEM') : parsePublicKey(bytes);
    if (key.ok) return key.value;
    this.fault(member, key.faults[0]?.message ?? '');
    return new Uint8Array();
  }

  private text(entry: JsonObject, name: string, path: PropertyKey[]): string | undefined {
    const value = entry[name];
    if (value === undefined || typeof value === 'string') return value;
    return this.fault([...path, name], 'must be a text');
  }

  private time(entry: JsonObject, name: string, path: PropertyKey[]): Date | undefined {
    const value = entry[name];
    if (value === undefined) return undefined;
    const at = typeof value === 'string' ? parseTimestamp(value) : undefined;
    return at ?? this.fault([...path, name], 'must be an RFC 3339 time');
  }

  private fault(path: PropertyKey[], message: string): undefined {
    this.faults.push({ path: memberPath(path), message });
    return undefined;
  }
}

function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [P in K]: V });
}

/** A key ring file's text, for people to read: two spaces of indentation and a newline at the end. */
export function toKeyRingJson(entries: readonly KeyEntry[]): string {
  const keys = entries.map((entry) => ({
    key_id: entry.keyId,
    public_key: toBase64(entry.publicKey),
    ...optional('owner', entry.owner),
    ...optional('not_before', entry.notBefore && toTimestamp(entry.notBefore)),
    ...optional('not_after', entry.notAfter && toTimestamp(entry.notAfter)),
    ...optional('revoked_at', entry.revokedAt && toTimestamp(entry.revokedAt)),
  }));
  return `${JSON.stringify({ keys }, undefined, 2)}\n`;
}

import * as z from 'zod';
import { artifactBytes, parseTimestamp, toTimestamp } from '../encoding/index.ts';
import { faulty, type Parsed, parsed } from '../errors/index.ts';
import { nonEmptyText, parseArtifact, validate } from '../schema/index.ts';
import { parseBase64, toBase64 } from './base64.ts';
import { parsePublicKey } from './key-format.ts';
import type { KeyEntry } from './key-ring.ts';

const publicKey = z.string().transform((text, context) => {
  const bytes = text.includes('-----') ? Buffer.from(text) : parseBase64(text);
  const key = bytes === undefined ? faulty('must be base64 of 32 bytes, or SPKI PEM') : parsePublicKey(bytes);
  if (key.ok) return key.value;
  for (const { message } of key.faults) context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

const time = z.string().transform((text, context) => {
  const at = parseTimestamp(text);
  if (at !== undefined) return at;
  context.addIssue({ code: 'custom', message: 'must be an RFC 3339 time' });
  return z.NEVER;
});

const entry = z.strictObject({
  key_id: nonEmptyText,
  public_key: publicKey,
  owner: z.string().exactOptional(),
  not_before: time.exactOptional(),
  not_after: time.exactOptional(),
  revoked_at: time.exactOptional(),
});

/** Keys as a key ring file and `bindings.yaml` list them; no id twice. Gives KeyEntries. */
export const keyList = z
  .array(entry)
  .superRefine(refineIds, { when: () => true })
  .transform((keys) => keys.map(toEntry));

const keyRing = z.strictObject({ keys: keyList });

// Runs beside the entries' own faults, so that all come at once; the value may be anything.
function refineIds(value: unknown, context: z.core.$RefinementCtx): void {
  if (!Array.isArray(value)) return;
  const ids = new Set<unknown>();
  for (const [index, item] of value.entries()) {
    const id: unknown = typeof item === 'object' && item !== null ? Reflect.get(item, 'key_id') : undefined;
    if (id === undefined) continue;
    if (ids.has(id))
      context.addIssue({
        code: 'custom',
        path: [index, 'key_id'],
        message: 'stands for another key already',
      });
    ids.add(id);
  }
}

/**
 * Reads a key ring file: `{"keys": [{key_id, public_key, owner?, not_before?, not_after?, revoked_at?}]}`, where
 * public_key is base64 of 32 bytes or SPKI PEM and the times are RFC 3339.
 */
export function parseKeyRing(bytes: Uint8Array): Parsed<KeyEntry[]> {
  const file = parseArtifact(bytes, artifactBytes.keyRing, (value) => validate(keyRing, value));
  return file.ok ? parsed(file.value.keys) : file;
}

function toEntry(it: z.infer<typeof entry>): KeyEntry {
  return {
    keyId: it.key_id,
    publicKey: it.public_key,
    ...optional('owner', it.owner),
    ...optional('notBefore', it.not_before),
    ...optional('notAfter', it.not_after),
    ...optional('revokedAt', it.revoked_at),
  };
}

function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [P in K]: V });
}

/** A key ring file's text, for people to read: two spaces of indentation and a newline at the end. */
export function toKeyRingJson(entries: readonly KeyEntry[]): string {
  const keys = entries.map((it) => ({
    key_id: it.keyId,
    public_key: toBase64(it.publicKey),
    ...optional('owner', it.owner),
    ...optional('not_before', it.notBefore && toTimestamp(it.notBefore)),
    ...optional('not_after', it.notAfter && toTimestamp(it.notAfter)),
    ...optional('revoked_at', it.revokedAt && toTimestamp(it.revokedAt)),
  }));
  return `${JSON.stringify({ keys }, undefined, 2)}\n`;
}

import * as z from 'zod';
import { canonicalBytes, isJsonObject, parseStrictJson } from '../encoding/index.ts';
import { faulty, type Parsed } from '../errors/index.ts';
import {
  epochMember,
  integer,
  nonEmptyText,
  sha256Member,
  validate,
  versionMember,
} from '../schema/index.ts';

/** What the log has of one receipt: its hash, and by what it is found. The receipt itself stays with host and gate. */
export const logEntrySchema = z
  .strictObject({
    entry_version: versionMember('log entry', 'csc.log-entry.v0.1'),
    receipt_sha256: sha256Member.meta({
      description:
        'Of the receipt’s bytes; of the v0.2 original, which stands in the chain, where there is one.',
    }),
    execution_id: nonEmptyText.max(128),
    executor: nonEmptyText.max(512).exactOptional().meta({
      description: 'The executor in whose chain it stands, as the receipt names it. Absent: a gate’s own.',
    }),
    executor_epoch: epochMember.exactOptional(),
    sequence: integer({ min: 1 }).exactOptional().meta({ description: 'Its number in that chain.' }),
    audit_sequence: integer({ min: 1 }).meta({
      description: 'The number of the gate’s audit record of it: grows from entry to entry.',
    }),
  })
  .meta({ title: 'CSC LogEntry v0.1', description: 'A leaf of a gate’s log of receipts.' });

/** A leaf of the log. */
export type LogEntry = z.infer<typeof logEntrySchema>;

/** No entry is longer. */
export const maxLogEntryBytes = 2048;

/** The one text of an entry, whose hash is the leaf. */
export function formatEntry(entry: LogEntry): Buffer {
  return canonicalBytes(entry);
}

/** Reads an entry: only its one text. */
export function parseEntry(bytes: Uint8Array): Parsed<LogEntry> {
  const value = parseStrictJson(bytes, { maxBytes: maxLogEntryBytes });
  if (!value.ok) return value;
  if (!isJsonObject(value.value)) return faulty('is no object');
  const entry = validate(logEntrySchema, value.value);
  if (entry.ok && Buffer.compare(formatEntry(entry.value), bytes) !== 0) return faulty('is not canonical');
  return entry;
}

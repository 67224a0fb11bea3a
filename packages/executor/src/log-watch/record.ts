import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseStrictJson } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile, replaceFile } from '@csc-fleet/common/files';
import { validate } from '@csc-fleet/common/schema';
import * as z from 'zod';

/** What a host has found out about the log of receipts, as it is beside its journal, in this file. */
export const logRecordFile = 'receipt-log.json';

const accusation = z.strictObject({
  at: z.string(),
  message: z.string(),
  /** Both signed by the log. Empty: there is none. */
  seen_checkpoint: z.string(),
  shown_checkpoint: z.string(),
});

const recordSchema = z.strictObject({
  /** The key that the owners name. */
  log_vkey: z.string(),
  /** Receipts that are in no checkpoint though the gate acknowledged them long ago. */
  missing: z.int().min(0),
  /** All of them, those that were acknowledged first to begin with; an earlier release wrote down 16. */
  missing_executions: z.array(z.string()),
  /** Why, as far as the gate says so, for people; empty where it says nothing. */
  why: z.string(),
  /** What first showed that the log is false. Absent: nothing has. */
  is_false: accusation.exactOptional(),
});

/** The same, parsed. */
export type LogRecord = z.infer<typeof recordSchema>;

// Two checkpoints, as JSON, and names of as many receipts as are looked for.
const maxBytes = 2 * 1024 * 1024;

/** Undefined where nothing was found out, or its owner has taken the file away. Throws CONFIG_INVALID, FILE_UNREADABLE. */
export function readLogRecord(stateDir: string): LogRecord | undefined {
  const file = join(stateDir, logRecordFile);
  if (!existsSync(file)) return undefined;
  const { bytes } = readBoundedFile(file, { maxBytes });
  const value = orThrow(parseStrictJson(bytes, { maxBytes }), 'CONFIG_INVALID', file);
  return orThrow(validate(recordSchema, value), 'CONFIG_INVALID', file);
}

/** Throws FILE_UNWRITABLE. */
export function writeLogRecord(stateDir: string, record: LogRecord): void {
  replaceFile(join(stateDir, logRecordFile), `${JSON.stringify(record, undefined, 2)}\n`, 0o600);
}

/** Takes it away where there is one. */
export function removeLogRecord(stateDir: string): void {
  rmSync(join(stateDir, logRecordFile), { force: true });
}

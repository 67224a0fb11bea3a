import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { OwedReceipt, SeenLog, SeenLogs } from '@csc-fleet/client';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import * as z from 'zod';
import { exclusively } from '../files/exclusively.ts';
import { writeFileWhole } from '../files/write-file.ts';

const maxSeenBytes = 4 * 1024 * 1024;

const seenSchema = z.record(
  z.string(),
  z.strictObject({
    checkpoint: z.string().exactOptional(),
    owed: z.array(z.strictObject({ executionId: z.string(), sha256: z.string() })),
    firstUse: z.strictObject({ vkey: z.string(), metAt: z.string(), askedAt: z.string() }).exactOptional(),
  }),
);

/**
 * What was met of gates' logs, in a file, and what logs are accused by, in a directory beside it. Where it cannot be written,
 * what is met counts in this process alone.
 * @param notKept told of that
 */
export function openSeenLogs(file: () => string, notKept: (error: CscError) => void): SeenLogs {
  const fresh = new Map<string, SeenLog>();
  const trying = (write: () => string): string => {
    try {
      return write();
    } catch (error) {
      if (!(error instanceof CscError)) throw error;
      notKept(error);
      return '';
    }
  };
  return {
    seenOf: async (origin) => fresh.get(origin) ?? readSeen(file())[origin] ?? { owed: [] },
    keep: async (origin, seen) => {
      fresh.set(origin, seen);
      const kept = trying(() => {
        writeFileWhole(file(), JSON.stringify({ ...readSeen(file()), [origin]: seen }));
        return file();
      });
      // What another process meets meanwhile is in the file.
      if (kept !== '') fresh.delete(origin);
    },
    exclusively: (act) => exclusively(file(), act),
    accuse: async (origin, evidence) => trying(() => keepEvidence(file(), { origin, ...evidence })),
  };
}

function keepEvidence(file: string, facts: object): string {
  const text = `${JSON.stringify({ at: new Date().toISOString(), ...facts }, null, 2)}\n`;
  const path = join(`${file}.evidence`, `${sha256Hex(text).slice(0, 16)}.json`);
  writeFileWhole(path, text);
  return path;
}

/** What its name ends in, beside the executors that were met. */
export const seenLogsKind = 'logs';

/** Receipts whose proof is owed, by who asks where. Throws FILE_UNREADABLE. */
export function owedIn(file: string): (OwedReceipt & { readonly place: string })[] {
  return owedOf(readSeen(file));
}

function owedOf(seen: Readonly<Record<string, SeenLog>>): (OwedReceipt & { readonly place: string })[] {
  return Object.entries(seen).flatMap(([place, { owed }]) => owed.map((it) => ({ ...it, place })));
}

/**
 * Forgets that proofs of these executions' receipts are owed, and keeps a note of it where evidence is kept.
 * @returns where that note is. Rejects with CONFIG_INVALID where one is not owed, and as exclusively does.
 */
export function forgetOwed(file: string, executionIds: readonly string[]): Promise<string> {
  return exclusively(file, () => forgetAlone(file, executionIds));
}

function forgetAlone(file: string, executionIds: readonly string[]): string {
  // Read once: the note is of just what is taken out.
  const seen = readSeen(file);
  const owed = owedOf(seen).filter(({ executionId }) => executionIds.includes(executionId));
  const stranger = executionIds.find((id) => !owed.some(({ executionId }) => executionId === id));
  if (stranger !== undefined)
    throw new CscError(
      'CONFIG_INVALID',
      `no proof of a receipt of ${stranger} is owed: csc audit forget lists them`,
    );
  const note = keepEvidence(file, {
    message: 'a person has forgotten that their proofs are owed',
    receipts: owed,
  });
  const isKept = ({ executionId }: OwedReceipt): boolean => !executionIds.includes(executionId);
  const left = Object.entries(seen).map(([name, it]) => [name, { ...it, owed: it.owed.filter(isKept) }]);
  writeFileWhole(file, JSON.stringify(Object.fromEntries(left)));
  return note;
}

function readSeen(file: string): Record<string, SeenLog> {
  if (!existsSync(file)) return {};
  try {
    return seenSchema.parse(JSON.parse(readBoundedFile(file, { maxBytes: maxSeenBytes }).bytes.toString()));
  } catch (cause) {
    const message = `${file} does not hold what was met of logs: move it away to begin anew`;
    throw new CscError('FILE_UNREADABLE', message, { cause });
  }
}

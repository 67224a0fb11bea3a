import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AccusedLog, OwedReceipt, SeenLog, SeenLogs } from '@csc-fleet/client';
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
    accused: z
      .strictObject({
        origin: z.string(),
        vkey: z.string(),
        message: z.string(),
        at: z.string(),
        evidence: z.string(),
      })
      .exactOptional(),
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

/** What can be forgotten. */
export interface Forgettable {
  /** Receipts whose proof is owed, by who asks where. */
  readonly owed: readonly (OwedReceipt & { readonly place: string })[];
  /** Logs that were found false, and not seen true since. */
  readonly accused: readonly (AccusedLog & { readonly place: string })[];
}

/** What is held against gates in a file. Throws FILE_UNREADABLE. */
export function heldIn(file: string): Forgettable {
  return heldOf(readSeen(file));
}

function heldOf(seen: Readonly<Record<string, SeenLog>>): Forgettable {
  const places = Object.entries(seen);
  return {
    owed: places.flatMap(([place, { owed }]) => owed.map((it) => ({ ...it, place }))),
    accused: places.flatMap(([place, { accused }]) => (accused === undefined ? [] : { ...accused, place })),
  };
}

/**
 * Forgets that proofs are owed for the receipts of these executions, and all that was met of logs that were found
 * false. A note of it is kept beside the evidence.
 * @param named executions, by the beginning of an id that no other has, or logs by their whole names
 * @returns where that note is. Rejects with CONFIG_INVALID where one is not held against anybody, and as exclusively does.
 */
export function forgetHeld(file: string, named: readonly string[]): Promise<string> {
  return exclusively(file, () => forgetAlone(file, named));
}

function forgetAlone(file: string, named: readonly string[]): string {
  // Read once: the note is of just what is taken out.
  const seen = readSeen(file);
  const held = heldOf(seen);
  const accused = held.accused.filter(({ origin }) => named.includes(origin));
  const ids = new Set(
    named.filter((it) => !accused.some(({ origin }) => origin === it)).map((it) => executionOf(it, held)),
  );
  const vkeys = new Set(accused.map(({ vkey }) => vkey));
  const places = new Set(accused.map(({ place }) => place));
  // What a place owes where its log is begun anew is older than that.
  const owed = held.owed.filter(({ executionId, place }) => ids.has(executionId) || places.has(place));
  const note = keepEvidence(file, {
    message: 'a person has forgotten that these proofs are owed, and that these logs are false',
    receipts: owed,
    // With what they have signed, which the next that is shown need not add to.
    logs: accused.map((it) => ({ ...it, checkpoint: seen[it.vkey]?.checkpoint ?? '' })),
  });
  const left: Record<string, SeenLog> = {};
  for (const [name, it] of Object.entries(seen)) {
    if (vkeys.has(name)) continue;
    const others = it.owed.filter(({ executionId }) => !ids.has(executionId));
    left[name] = places.has(name) ? { owed: [] } : { ...it, owed: others };
  }
  writeFileWhole(file, JSON.stringify(left));
  return note;
}

/** The one execution of which that is the beginning. */
function executionOf(named: string, { owed }: Forgettable): string {
  const found = [...new Set(owed.map(({ executionId }) => executionId).filter((it) => it.startsWith(named)))];
  const [only, another] = found.includes(named) ? [named] : found;
  if (only !== undefined && another === undefined && named.length >= leastOfId) return only;
  const why =
    only === undefined
      ? `no proof of a receipt of ${named} is owed, and no log of that name was found false`
      : another === undefined
        ? `${named} is too short: give ${leastOfId} characters or more`
        : `${named} is the beginning of ${found.length} executions, such as ${only} and ${another}: give more of it`;
  throw new CscError('CONFIG_INVALID', `${why} (csc audit forget lists them)`);
}

const leastOfId = 4;

function readSeen(file: string): Record<string, SeenLog> {
  if (!existsSync(file)) return {};
  try {
    return seenSchema.parse(JSON.parse(readBoundedFile(file, { maxBytes: maxSeenBytes }).bytes.toString()));
  } catch (cause) {
    const message = `${file} does not hold what was met of logs: move it away to begin anew`;
    throw new CscError('FILE_UNREADABLE', message, { cause });
  }
}

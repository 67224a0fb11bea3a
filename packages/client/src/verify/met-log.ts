import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { formatVkey, type LogTrust, type NoteKey, openCheckpoint, parseVkey } from '@csc-fleet/common/tlog';
import type { OwedReceipt, SeenLog, SeenLogs } from './seen-logs.ts';

/** A receipt, as it was verified, that must be in the log. */
export interface ReceiptInLog {
  readonly executionId: string;
  readonly receiptJson: Uint8Array;
  readonly originalJson: Uint8Array;
}

/** What was met where somebody asks. */
export interface Met extends SeenLog {
  /** Whose checkpoints count. Undefined: none was met yet. */
  readonly log: NoteKey | undefined;
}

/** Whom a log check asks and tells. */
export interface LogPorts {
  /** Which log it must be. Undefined: the one that was met first. */
  readonly trust: LogTrust | undefined;
  readonly seen: SeenLogs;
  /** Who asks where. */
  readonly place: string;
  readonly onWarning: (message: string) => void;
  /** What was warned of, and need not be again. */
  readonly told: Set<'empty log' | 'no log'>;
  readonly now: () => Date;
}

/** What was met of the log that counts there, and what is owed. Throws LOG_INVALID where what is kept names no key. */
export async function recall({
  trust,
  seen,
  place,
}: Pick<LogPorts, 'trust' | 'seen' | 'place'>): Promise<Met> {
  const { owed, firstUse, accused } = await seen.seenOf(place);
  const log = trust?.log ?? (firstUse?.vkey ? toLog(firstUse.vkey) : undefined);
  const { checkpoint } = log === undefined ? {} : await seen.seenOf(formatVkey(log));
  return {
    log,
    owed,
    ...(checkpoint === undefined ? {} : { checkpoint }),
    ...(firstUse === undefined ? {} : { firstUse }),
    ...(accused === undefined ? {} : { accused }),
  };
}

/** Throws LOG_INVALID. */
export function toLog(vkey: string): NoteKey {
  return orThrow(parseVkey(vkey), 'LOG_INVALID', 'the key that the gate names for its log');
}

/** The newest checkpoint that was met. Undefined: none was. Throws LOG_INVALID. */
export function seenHead({ checkpoint, log }: Pick<Met, 'checkpoint' | 'log'>) {
  if (checkpoint === undefined || log === undefined) return undefined;
  return openCheckpoint(Buffer.from(checkpoint), { log }).checkpoint;
}

/** Throws LOG_INVALID where the log was found false, and there is no more than `why` to say that it is true again. */
export function checkNotAccused({ accused }: Pick<Met, 'accused'>, why: string): void {
  if (accused === undefined) return;
  const { origin, message, at } = accused;
  const found = `${tellFalse(origin, message)}${tellKept(accused.evidence)}`;
  throw new CscError(
    'LOG_INVALID',
    `${found}. So it was found at ${at}, and it has not been seen true since (${why}). Ask its owners; csc audit forget ${origin} forgets it, and keeps a note of it`,
  );
}

/** How a message of a false log begins. */
export const tellFalse = (origin: string, message: string): string =>
  `THE LOG ${origin} IS FALSE: ${message}`;

/** Where evidence is kept, at the end of a message. @param place empty: nowhere */
export const tellKept = (place: string): string =>
  place === '' ? '' : `. Both checkpoints are kept in ${place}`;

/** What is to be proven of a receipt. */
export function toOwed({ executionId, receiptJson, originalJson }: ReceiptInLog): OwedReceipt {
  // The form that stands in its executor's chain.
  return { executionId, sha256: sha256Hex(originalJson.length > 0 ? originalJson : receiptJson) };
}

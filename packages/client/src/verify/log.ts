import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError, isCscError, orThrow } from '@csc-fleet/common/errors';
import type { ProveReceiptsResponse } from '@csc-fleet/common/messages';
import { GateService } from '@csc-fleet/common/rpc';
import {
  type LogTrust,
  leafHash,
  openCheckpoint,
  parseEntry,
  parseVkey,
  verifyConsistency,
  verifyInclusion,
} from '@csc-fleet/common/tlog';
import type { Connection } from '../connection/connection.ts';

/** A receipt that the log must have: of its two forms, the one in its executor's chain. */
export interface OwedReceipt {
  readonly executionId: string;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** What was met of a log. */
export interface SeenLog {
  /** The newest checkpoint that counted, a signed note. Absent: none yet. */
  readonly checkpoint?: string;
  /** Receipts that the log had not proven yet. */
  readonly owed: readonly OwedReceipt[];
}

/**
 * What was met of logs, so that a gate cannot show one log today and another tomorrow. Keep it between processes, or each
 * begins anew.
 */
export interface SeenLogs {
  seenOf(origin: string): Promise<SeenLog>;
  /** Replaces it. */
  keep(origin: string, seen: SeenLog): Promise<void>;
  /** Keeps what proves that a log is false, beside all that was met; resolves to where, for people; empty: nowhere. */
  accuse(origin: string, evidence: LogEvidence): Promise<string>;
}

/** What a log is accused by. */
export interface LogEvidence {
  readonly message: string;
  /** Both signed by the log. Empty: there is none. */
  readonly seenCheckpoint: string;
  readonly shownCheckpoint: string;
  readonly receipts: readonly OwedReceipt[];
}

/** Forgets everything with the process. */
export function createSeenLogs(): SeenLogs {
  const logs = new Map<string, SeenLog>();
  return {
    seenOf: async (origin) => logs.get(origin) ?? { owed: [] },
    keep: async (origin, seen) => {
      logs.set(origin, seen);
    },
    accuse: async () => '',
  };
}

/** Whose log it must be, by how many witnesses it must be seen, and what was met of it. */
export type LogChecks = LogTrust & { readonly seen: SeenLogs };

// Of those that a gate would not prove: more are another gate's, or forgotten by it.
const mostOwed = 64;

/**
 * Has the gate prove that these receipts, and those that it still owes a proof of, are in its log, and that its log only adds
 * to what was met of it. Throws LOG_INVALID where it does not, and keeps the evidence; LOG_MISSING where it keeps none.
 */
export async function checkLog(
  connection: Connection,
  checks: LogChecks,
  receipts: readonly OwedReceipt[],
  signal?: AbortSignal,
): Promise<void> {
  const { log, seen, quorum = 0 } = checks;
  const met = await seen.seenOf(log.name);
  const owed = [...met.owed.filter((it) => !receipts.some((one) => isOne(it, one))), ...receipts].slice(
    -mostOwed,
  );
  // Before it is asked: what the gate does not answer, it is asked again.
  await seen.keep(log.name, { ...met, owed });
  const before = met.checkpoint === undefined ? undefined : openSeen(met.checkpoint, checks);
  const request = {
    executionIds: [...new Set(owed.map(({ executionId }) => executionId))],
    oldSize: before?.size ?? 0,
    witnesses: quorum,
  };
  const answer = await ask(connection, request, signal);
  const shown = answer.checkpoint.toString();
  const accuse = async (error: unknown, of: readonly OwedReceipt[]): Promise<never> => {
    if (!isCscError(error, 'LOG_INVALID')) throw error;
    const { message } = error;
    const evidence = { message, seenCheckpoint: met.checkpoint ?? '', shownCheckpoint: shown, receipts: of };
    const place = await seen.accuse(log.name, evidence);
    const kept = place === '' ? '' : `. Both checkpoints are kept in ${place}`;
    throw new CscError('LOG_INVALID', `THE LOG ${log.name} IS FALSE: ${message}${kept}`, { cause: error });
  };
  if (answer.checkpoint.length === 0) {
    if (before !== undefined)
      return accuse(new CscError('LOG_INVALID', `it had ${before.size} entries, and is gone`), owed);
    throw new CscError('LOG_MISSING', `the gate keeps no log of receipts, and ${log.name} is demanded`);
  }
  try {
    const { checkpoint } = openCheckpoint(answer.checkpoint, checks);
    if (before !== undefined) verifyConsistency(before, checkpoint, answer.consistency);
    await seen.keep(log.name, { checkpoint: shown, owed });
    const missing = owed.filter((it) => !isProven(it, answer, checkpoint));
    // Whatever comes of it, it is told once.
    await seen.keep(log.name, { checkpoint: shown, owed: [] });
    if (missing.length > 0) await accuse(missingFrom(checkpoint.size, missing), missing);
  } catch (error) {
    if (isCscError(error, 'LOG_INVALID') && !error.message.startsWith('THE LOG')) await accuse(error, owed);
    throw error;
  }
}

async function ask(
  connection: Connection,
  request: { executionIds: string[]; oldSize: number; witnesses: number },
  signal: AbortSignal | undefined,
): Promise<ProveReceiptsResponse> {
  return connection.unary(GateService.proveReceipts, request, signal);
}

function openSeen(note: string, { log }: LogChecks) {
  return openCheckpoint(Buffer.from(note), { log }).checkpoint;
}

function isOne(one: OwedReceipt, other: OwedReceipt): boolean {
  return one.executionId === other.executionId && one.sha256 === other.sha256;
}

// Throws LOG_INVALID where a proof does not hold; false where there is none of this receipt.
function isProven(
  { executionId, sha256 }: OwedReceipt,
  { proofs }: ProveReceiptsResponse,
  head: { readonly size: number; readonly root: Uint8Array },
): boolean {
  return proofs.some(({ entry, index, hashes }) => {
    const { receipt_sha256, execution_id } = orThrow(parseEntry(entry), 'LOG_INVALID', 'an entry of the log');
    if (receipt_sha256 !== sha256 || execution_id !== executionId) return false;
    verifyInclusion(head, index, leafHash(entry), hashes);
    return true;
  });
}

function missingFrom(size: number, missing: readonly OwedReceipt[]): CscError {
  const named = missing
    .map(({ executionId, sha256 }) => `${executionId} (${sha256.slice(0, 16)}…)`)
    .join(', ');
  const message = `of its ${size} entries none is the receipt of ${named}, which the gate has handed out`;
  return new CscError('LOG_INVALID', message);
}

/** A receipt, as it was verified, that must be in the log. */
export interface ReceiptInLog {
  readonly executionId: string;
  readonly receiptJson: Uint8Array;
  readonly originalJson: Uint8Array;
}

/** `checkLog` of one receipt, with the log that was demanded. */
export type LogCheck = (connection: Connection, receipt: ReceiptInLog, signal?: AbortSignal) => Promise<void>;

/** Reads what is demanded when it is first needed. Throws CONFIG_INVALID. */
export type LogDemand = () => Promise<LogCheck>;

/** Which log is demanded, and who must have seen it. */
export interface LogOptions {
  /** The log's key, as the gate writes it to `log/log.vkey` of its data directory. */
  readonly vkey: string;
  /** The keys of witnesses whose cosignatures count. Absent: none. */
  readonly witnessVkeys?: readonly string[] | undefined;
  /** How many of them are due. Absent: none. */
  readonly quorum?: number | undefined;
  /** What was met of logs. Absent: what this client meets. */
  readonly seen?: SeenLogs | undefined;
}

/** Throws CONFIG_INVALID where a key is none, or more witnesses are due than are named. */
export function openLogCheck({ seen = createSeenLogs(), ...demanded }: LogOptions): LogCheck {
  const checks = { ...toLogTrust(demanded), seen };
  return (connection, { executionId, receiptJson, originalJson }, signal) => {
    // The form that stands in its executor's chain.
    const sha256 = sha256Hex(originalJson.length > 0 ? originalJson : receiptJson);
    return checkLog(connection, checks, [{ executionId, sha256 }], signal);
  };
}

function toLogTrust({ vkey, witnessVkeys = [], quorum = 0 }: Omit<LogOptions, 'seen'>): LogTrust {
  const toKey = (text: string, name: string) => orThrow(parseVkey(text), 'CONFIG_INVALID', name);
  const witnesses = witnessVkeys.map((it) => toKey(it, 'the vkey of a witness'));
  if (quorum > witnesses.length)
    throw new CscError(
      'CONFIG_INVALID',
      `${quorum} witnesses are demanded, and ${witnesses.length} are named`,
    );
  return { log: toKey(vkey, 'the vkey of the log'), witnesses, quorum };
}

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
  toLogTrust,
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
  /** Where no key was demanded: the one that was met first, when that was, and when the log was asked last, ISO 8601. */
  readonly firstUse?: { readonly vkey: string; readonly metAt: string; readonly askedAt: string };
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
  const { log, seen } = checks;
  for (let round = 0; round < mostRounds; round += 1) {
    // Before it is asked: what the gate does not answer, it is asked again.
    const met = await inTurn(async () => {
      const found = await seen.seenOf(log.name);
      const owed = [...without(found.owed, receipts), ...receipts].slice(-mostOwed);
      await seen.keep(log.name, { ...found, owed });
      return { ...found, owed };
    });
    const answer = await ask(connection, toRequest(met, checks), signal);
    if (await judge(checks, met, answer)) return;
  }
  const message = `others meet the log ${log.name} at the same time, again and again: ask once more`;
  throw new CscError('LOG_MISSING', message);
}

// Of those that ask at once, one at least comes through in each.
const mostRounds = 64;

let turn: Promise<unknown> = Promise.resolve();

// One at a time of this process: what was read is what is replaced.
function inTurn<T>(act: () => Promise<T>): Promise<T> {
  const next = turn.then(act);
  turn = next.catch(() => undefined);
  return next;
}

function without(owed: readonly OwedReceipt[], others: readonly OwedReceipt[]): OwedReceipt[] {
  return owed.filter((it) => !others.some((other) => isOne(it, other)));
}

/**
 * Throws LOG_INVALID, with the evidence kept, and LOG_MISSING. False where somebody else has met the log meanwhile, and it is to be
 * asked again: two that ask at once could be shown two trees, each of which adds to what both had met.
 */
async function judge(checks: LogChecks, met: SeenLog, answer: ProveReceiptsResponse): Promise<boolean> {
  const { log, seen } = checks;
  const { owed } = met;
  const before = seenHead(met, checks);
  const shown = answer.checkpoint.toString();
  const accuse = async (error: unknown, of: readonly OwedReceipt[]): Promise<never> => {
    if (!isCscError(error, 'LOG_INVALID')) throw error;
    const { message } = error;
    const { checkpoint: last = '' } = await seen.seenOf(log.name);
    const seenCheckpoint = last === shown ? (met.checkpoint ?? '') : last;
    const evidence = { message, seenCheckpoint, shownCheckpoint: shown, receipts: of };
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
    const isLast = await inTurn(async () => {
      const now = await seen.seenOf(log.name);
      if (now.checkpoint !== undefined && now.checkpoint !== met.checkpoint) {
        const other = seenHead(now, checks);
        if (other?.size !== checkpoint.size) return false;
        verifyConsistency(other, checkpoint, []);
      }
      await seen.keep(log.name, { ...now, checkpoint: shown });
      return true;
    });
    if (!isLast) return false;
    const missing = owed.filter((it) => !isProven(it, answer, checkpoint));
    // Whatever comes of it, it is told once.
    await inTurn(async () => {
      const now = await seen.seenOf(log.name);
      await seen.keep(log.name, { ...now, owed: without(now.owed, owed) });
    });
    if (missing.length > 0) await accuse(missingFrom(checkpoint.size, missing), missing);
    return true;
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

function toRequest(met: SeenLog, checks: LogChecks) {
  return {
    executionIds: [...new Set(met.owed.map(({ executionId }) => executionId))],
    oldSize: seenHead(met, checks)?.size ?? 0,
    witnesses: checks.quorum ?? 0,
  };
}

function seenHead({ checkpoint }: SeenLog, { log }: LogChecks) {
  return checkpoint === undefined ? undefined : openCheckpoint(Buffer.from(checkpoint), { log }).checkpoint;
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
  /**
   * The log's key, as the gate writes it to `log/log.vkey` of its data directory. Absent: the one that the gate names first is
   * remembered. Then receipts that ended since must be in that log, which must only add; it is asked at most every ten
   * seconds, and who has no log, or does not answer, is not refused.
   */
  readonly vkey?: string | undefined;
  /** Without a key: told, for people, where the log has another key than before, and where it could not be asked. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** The keys of witnesses whose cosignatures count. Absent: none. */
  readonly witnessVkeys?: readonly string[] | undefined;
  /** Without a key: what time it is. Absent: as the system has it. */
  readonly now?: (() => Date) | undefined;
  /** How many of them are due. Absent: none. */
  readonly quorum?: number | undefined;
  /** What was met of logs. Absent: what this client meets. */
  readonly seen?: SeenLogs | undefined;
}

/**
 * Throws CONFIG_INVALID where a key is none, or more witnesses are due than are named.
 * @param place by what a log is remembered whose key is not demanded
 */
export function openLogCheck({ seen = createSeenLogs(), ...options }: LogOptions, place: string): LogCheck {
  const { vkey, witnessVkeys, quorum, onWarning = () => {}, now = () => new Date() } = options;
  if (vkey === undefined) return checkMet({ seen, place, onWarning, now });
  const checks = { ...toLogTrust({ vkey, witnessVkeys, quorum }), seen };
  return (connection, receipt, signal) => checkLog(connection, checks, [toOwed(receipt)], signal);
}

function toOwed({ executionId, receiptJson, originalJson }: ReceiptInLog): OwedReceipt {
  // The form that stands in its executor's chain.
  return { executionId, sha256: sha256Hex(originalJson.length > 0 ? originalJson : receiptJson) };
}

interface MetPorts {
  readonly seen: SeenLogs;
  readonly place: string;
  readonly onWarning: (message: string) => void;
  readonly now: () => Date;
}

// A host whose clock is further off gets no work: what ended later than this after the log was met is younger than the log.
const clockToleranceMs = 60_000;
const askEachMs = 10_000;
const patienceMs = 1_500;

// Of a log whose key nobody has demanded. What is older than its first meeting may be older than the log.
function checkMet({ seen, place, onWarning, now: clock }: MetPorts): LogCheck {
  return async (connection, receipt, signal) => {
    const met = await seen.seenOf(place);
    const { firstUse } = met;
    const isYounger =
      firstUse?.vkey !== undefined &&
      firstUse.vkey !== '' &&
      endOf(receipt) > Date.parse(firstUse.metAt) + clockToleranceMs;
    const own = toOwed(receipt);
    const others = met.owed.filter((it) => !isOne(it, own));
    const owed = (isYounger ? [...others, own] : others).slice(-mostOwed);
    const now = clock();
    const isDue = firstUse === undefined || now.getTime() - Date.parse(firstUse.askedAt) >= askEachMs;
    const asked = { vkey: '', metAt: now.toISOString(), ...firstUse, askedAt: now.toISOString() };
    await seen.keep(place, { ...met, owed, ...(isDue ? { firstUse: asked } : {}) });
    if (!isDue && owed.length < mostOwed / 2) return;
    const checks = asked.vkey === '' ? undefined : toChecks(asked.vkey, seen, place);
    const request =
      checks === undefined
        ? { executionIds: [], oldSize: 0, witnesses: 0 }
        : toRequest({ ...met, owed }, checks);
    // It was not asked for: who has the receipt does not wait long for more.
    const patience = AbortSignal.timeout(patienceMs);
    const soon = signal === undefined ? patience : AbortSignal.any([signal, patience]);
    let answer: ProveReceiptsResponse;
    try {
      answer = await ask(connection, request, soon);
    } catch (error) {
      if (!isCscError(error)) throw error;
      // One that was never met may be a gate of an earlier release.
      if (checks === undefined) return;
      // They are asked for again, but for those that the gate has forgotten: they would stand in the way of all others.
      const isForgotten = error.code === 'EXECUTION_UNKNOWN';
      if (isForgotten) await seen.keep(place, { ...met, owed: [], firstUse: asked });
      const fate = isForgotten ? 'cannot be shown any more' : 'is asked again';
      const why = soon.aborted ? 'it has not answered in time' : error.message;
      onWarning(`whether ${owed.length} receipts are in the log of the gate ${fate}: ${why}`);
      return;
    }
    const { logVkey } = answer;
    if (checks !== undefined && (logVkey === asked.vkey || logVkey === '')) {
      // Where somebody else has met it meanwhile, it is asked again with the next receipt: what is owed stays owed.
      await judge(checks, { ...met, owed, firstUse: asked }, answer);
      return;
    }
    if (logVkey === '') return;
    const shown = answer.checkpoint.toString();
    const { log } = toChecks(logVkey, seen, place);
    // None yet: there is nothing in it.
    if (shown !== '') openCheckpoint(answer.checkpoint, { log });
    if (checks !== undefined) {
      const message =
        `the log of the gate has another key, ${logVkey}, than ${asked.vkey}, which was met on ${asked.metAt}: ` +
        'unless the owners have begun it anew, the gate hides what it had shown';
      const evidence = {
        message,
        seenCheckpoint: met.checkpoint ?? '',
        shownCheckpoint: shown,
        receipts: owed,
      };
      const kept = await seen.accuse(place, evidence);
      const told = `${message}${kept === '' ? '' : `. Both checkpoints are kept in ${kept}`}`;
      onWarning(told);
    }
    const fresh = { vkey: logVkey, metAt: asked.askedAt, askedAt: asked.askedAt };
    await seen.keep(place, {
      ...(shown === '' ? {} : { checkpoint: shown }),
      ...{ owed: [], firstUse: fresh },
    });
  };
}

// What is met of this log is kept by where it was met.
function toChecks(vkey: string, seen: SeenLogs, place: string): LogChecks {
  const log = orThrow(parseVkey(vkey), 'LOG_INVALID', 'the key that the gate names for its log');
  const placed: SeenLogs = {
    seenOf: () => seen.seenOf(place),
    keep: (_, met) => seen.keep(place, met),
    accuse: (_, evidence) => seen.accuse(place, evidence),
  };
  return { log, seen: placed };
}

// Of a receipt that was verified. NaN where it says none: it is owed to nobody then.
function endOf({ receiptJson }: ReceiptInLog): number {
  const { ended_at: end }: { ended_at?: unknown } = JSON.parse(Buffer.from(receiptJson).toString());
  return typeof end === 'string' ? Date.parse(end) : Number.NaN;
}

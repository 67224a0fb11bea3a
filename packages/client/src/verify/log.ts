import { CscError, isCscError } from '@csc-fleet/common/errors';
import type { ProveReceiptsRequest, ProveReceiptsResponse } from '@csc-fleet/common/messages';
import { GateService } from '@csc-fleet/common/rpc';
import { toLogTrust } from '@csc-fleet/common/tlog';
import type { Connection } from '../connection/connection.ts';
import { inTurn } from './in-turn.ts';
import { judge } from './judge-log.ts';
import {
  checkNotAccused,
  type LogPorts,
  type Met,
  type ReceiptInLog,
  recall,
  seenHead,
  toOwed,
} from './met-log.ts';
import { createSeenLogs, type OwedReceipt, type SeenLog, type SeenLogs, without } from './seen-logs.ts';

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
  /**
   * Says which log it is, and which witnesses, when that is first needed: as the owners have published it. Absent: `vkey` and
   * what stands beside it do.
   */
  readonly demanded?: (() => Promise<Pick<LogOptions, 'vkey' | 'witnessVkeys' | 'quorum'>>) | undefined;
  /** Without a key: told, for people, where the log has another key than before, and where it could not be asked. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** The keys of witnesses whose cosignatures count. Absent: none. */
  readonly witnessVkeys?: readonly string[] | undefined;
  /** What time it is. Absent: as the system has it. */
  readonly now?: (() => Date) | undefined;
  /** How many of them are due. Absent: none. */
  readonly quorum?: number | undefined;
  /** What was met of logs. Absent: what this client meets. */
  readonly seen?: SeenLogs | undefined;
}

/** What a call was asked to bring along, and what had been met then. */
export interface ProofWanted {
  readonly request: ProveReceiptsRequest;
  readonly met: Met;
}

/** The same, and what came. Absent answer: nothing, as of an older gate, or where its log is behind. */
export interface ProofBrought {
  readonly wanted: ProofWanted;
  readonly answer: ProveReceiptsResponse | undefined;
}

/** Holds receipts against a log. */
export interface LogCheck {
  /** What the call that brings a receipt is to be asked for. Undefined: nothing is due. */
  wanted(): Promise<ProofWanted | undefined>;
  /**
   * Has it proven that this receipt, and those that are still owed a proof, are in the log, and that the log only adds
   * to what was met of it: by what was brought with the receipt, or else by a call of its own. Throws LOG_INVALID where
   * that is false, and keeps the evidence; LOG_MISSING where it cannot be known.
   */
  check(
    connection: Connection,
    receipt: ReceiptInLog,
    brought?: ProofBrought,
    signal?: AbortSignal,
  ): Promise<void>;
}

// Of those that a gate would not prove: more are another gate's, or forgotten by it.
const mostOwed = 64;
// Of those that ask at once, one at least comes through in each.
const mostRounds = 64;
// A host whose clock is further off gets no work: what ended later than this after the log was met is younger than the log.
const clockToleranceMs = 60_000;
const askEachMs = 10_000;
const patienceMs = 1_500;

/**
 * Throws CONFIG_INVALID where a key is none, or more witnesses are due than are named.
 * @param place by what is remembered what this caller is owed
 */
export function openLogCheck({ seen = createSeenLogs(), ...options }: LogOptions, place: string): LogCheck {
  const { vkey, witnessVkeys, quorum, onWarning = () => {}, now = () => new Date() } = options;
  const trust = vkey === undefined ? undefined : toLogTrust({ vkey, witnessVkeys, quorum });
  const ports: LogPorts = { trust, seen, place, onWarning, told: new Set(), now };
  return {
    wanted: async () => {
      const { met, isDue } = await remember(ports);
      return isDue ? { request: toRequest(ports, met), met } : undefined;
    },
    check: async (connection, receipt, brought, signal) => {
      try {
        const { met, isDue, own } = await remember(ports, receipt);
        if (brought?.answer !== undefined && (await isSettled(ports, own, brought.wanted, brought.answer)))
          return;
        if (trust !== undefined) return await demand(ports, connection, receipt, signal);
        if (isDue || brought !== undefined) await askSoon(ports, met, own, connection, signal);
      } catch (error) {
        throw withEnd(error, receipt);
      }
    },
  };
}

// Whoever reads that the log does not hold is to know what ran, before he has it run once more.
function withEnd(error: unknown, { executionId, receiptJson }: ReceiptInLog): unknown {
  if (!isCscError(error, 'LOG_INVALID') && !isCscError(error, 'LOG_MISSING')) return error;
  const { status, exit_code: code }: { status?: unknown; exit_code?: unknown } = JSON.parse(
    Buffer.from(receiptJson).toString(),
  );
  const end = `${String(status)}${typeof code === 'number' ? `, exit code ${code}` : ''}`;
  const message = `${error.message}. The run itself has ended: ${end}, as its receipt says, which verifies (execution ${executionId})`;
  return new CscError(error.code, message, { cause: error, executionId });
}

/**
 * Notes that a proof is owed for this receipt, before anything is asked, so that a gate that does not answer is asked
 * again. Gives what was met, with that, and whether it is time to ask.
 */
function remember(
  ports: LogPorts,
  receipt?: ReceiptInLog,
): Promise<{ met: Met; isDue: boolean; own: readonly OwedReceipt[] }> {
  const { trust, seen, place, now: clock } = ports;
  return inTurn(seen, async () => {
    const { firstUse, ...met } = await recall(ports);
    const came = receipt === undefined ? [] : [toOwed(receipt)];
    const counts = trust !== undefined || isYounger(receipt, firstUse);
    const own = counts ? came : [];
    const owed = [...without(met.owed, came), ...own].slice(-mostOwed);
    const now = clock();
    const isDue =
      trust !== undefined ||
      firstUse === undefined ||
      met.accused !== undefined ||
      now.getTime() - Date.parse(firstUse.askedAt) >= askEachMs ||
      owed.length >= mostOwed / 2;
    const use = { vkey: '', metAt: now.toISOString(), askedAt: now.toISOString(), ...firstUse };
    const asked = isDue ? { ...use, askedAt: now.toISOString() } : use;
    const kept = {
      ...(trust === undefined ? { firstUse: asked } : firstUse === undefined ? {} : { firstUse }),
      ...(met.accused === undefined ? {} : { accused: met.accused }),
    };
    if (trust === undefined || receipt !== undefined) await seen.keep(place, { owed, ...kept });
    return { met: { ...met, owed, ...kept }, isDue, own };
  });
}

// What is older than the first meeting may be older than the log.
function isYounger(receipt: ReceiptInLog | undefined, firstUse: SeenLog['firstUse']): boolean {
  if (receipt === undefined || firstUse === undefined || firstUse.vkey === '') return false;
  return endOf(receipt) > Date.parse(firstUse.metAt) + clockToleranceMs;
}

function toRequest({ trust }: LogPorts, met: Met): ProveReceiptsRequest {
  const { log, owed } = met;
  return {
    executionIds: log === undefined ? [] : [...new Set(owed.map(({ executionId }) => executionId))],
    oldSize: seenHead(met)?.size ?? 0,
    witnesses: trust?.quorum ?? 0,
    nameUnknown: true,
  };
}

// False: it is to be asked for by a call of its own, which the gate answers with more patience.
async function isSettled(
  ports: LogPorts,
  own: readonly OwedReceipt[],
  { met }: ProofWanted,
  answer: ProveReceiptsResponse,
): Promise<boolean> {
  try {
    return await judge(ports, { ...met, owed: [...without(met.owed, own), ...own] }, answer, own);
  } catch (error) {
    if (isCscError(error, 'LOG_MISSING') && ports.trust !== undefined) return false;
    throw error;
  }
}

// Of a log whose key is demanded: nothing counts without it.
async function demand(
  ports: LogPorts,
  connection: Connection,
  receipt: ReceiptInLog,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let round = 0; round < mostRounds; round += 1) {
    const { met } = await remember(ports, receipt);
    const answer = await connection.unary(GateService.proveReceipts, toRequest(ports, met), signal);
    if (await judge(ports, met, answer, [toOwed(receipt)])) return;
  }
  const message = `others meet the log ${ports.trust?.log.name} at the same time, again and again: ask once more`;
  throw new CscError('LOG_MISSING', message);
}

// Of one whose key nobody has demanded: who has the receipt does not wait long for more, and who does not answer is not refused.
async function askSoon(
  ports: LogPorts,
  met: Met,
  own: readonly OwedReceipt[],
  connection: Connection,
  signal: AbortSignal | undefined,
): Promise<void> {
  const patience = AbortSignal.timeout(patienceMs);
  const soon = signal === undefined ? patience : AbortSignal.any([signal, patience]);
  let answer: ProveReceiptsResponse;
  try {
    answer = await connection.unary(GateService.proveReceipts, toRequest(ports, met), soon);
  } catch (error) {
    if (!isCscError(error)) throw error;
    const why = soon.aborted ? 'it has not answered in time' : error.message;
    checkNotAccused(met, `the gate does not show it now: ${why}`);
    // One that was never met may be a gate of an earlier release.
    if (met.log === undefined) return;
    ports.onWarning(`whether ${met.owed.length} receipts are in the log of the gate is asked again: ${why}`);
    return;
  }
  // Where somebody else has met it meanwhile, it is asked again with the next receipt: what is owed stays owed.
  if (!(await judge(ports, met, answer, own)))
    checkNotAccused(met, 'others meet it at the same time: ask once more');
}

// Of a receipt that was verified. NaN where it says none: it is owed to nobody then.
function endOf({ receiptJson }: ReceiptInLog): number {
  const { ended_at: end }: { ended_at?: unknown } = JSON.parse(Buffer.from(receiptJson).toString());
  return typeof end === 'string' ? Date.parse(end) : Number.NaN;
}

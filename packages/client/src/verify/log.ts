import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError, isCscError, orThrow } from '@csc-fleet/common/errors';
import type { ProveReceiptsRequest, ProveReceiptsResponse } from '@csc-fleet/common/messages';
import { GateService } from '@csc-fleet/common/rpc';
import {
  type Checkpoint,
  cosignedLately,
  formatVkey,
  type LogTrust,
  leafHash,
  type NoteKey,
  openCheckpoint,
  parseEntry,
  parseVkey,
  toLogTrust,
  verifyConsistency,
  verifyInclusion,
} from '@csc-fleet/common/tlog';
import type { Connection } from '../connection/connection.ts';
import { inTurn } from './in-turn.ts';
import {
  acquit,
  createSeenLogs,
  forgetOwed,
  type LogEvidence,
  type OwedReceipt,
  type SeenLog,
  type SeenLogs,
  without,
} from './seen-logs.ts';

/** A receipt, as it was verified, that must be in the log. */
export interface ReceiptInLog {
  readonly executionId: string;
  readonly receiptJson: Uint8Array;
  readonly originalJson: Uint8Array;
}

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
   * Has it proven that this receipt, and those that are still owed a proof, are in the log, and that the log only adds to what was
   * met of it: by what was brought with the receipt, or else by a call of its own. Throws LOG_INVALID where that is false, and
   * keeps the evidence; LOG_MISSING where it cannot be known.
   */
  check(
    connection: Connection,
    receipt: ReceiptInLog,
    brought?: ProofBrought,
    signal?: AbortSignal,
  ): Promise<void>;
}

/** What was met where somebody asks. */
interface Met extends SeenLog {
  /** Whose checkpoints count. Undefined: none was met yet. */
  readonly log: NoteKey | undefined;
}

interface LogPorts {
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

async function recall({ trust, seen, place }: Pick<LogPorts, 'trust' | 'seen' | 'place'>): Promise<Met> {
  const { owed, firstUse, accused } = await seen.seenOf(place);
  const log = trust?.log ?? (firstUse?.vkey ? toLog(firstUse.vkey) : undefined);
  const { checkpoint } = log === undefined ? {} : await seen.seenOf(formatVkey(log));
  return {
    ...{ log, owed },
    ...(checkpoint === undefined ? {} : { checkpoint }),
    ...(firstUse === undefined ? {} : { firstUse }),
    ...(accused === undefined ? {} : { accused }),
  };
}

function toLog(vkey: string): NoteKey {
  return orThrow(parseVkey(vkey), 'LOG_INVALID', 'the key that the gate names for its log');
}

/**
 * Before anything is asked, so that what the gate does not answer it is asked again: what was met, with this receipt among what is
 * owed, and whether it is time to ask.
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

function seenHead({ checkpoint, log }: Pick<Met, 'checkpoint' | 'log'>) {
  if (checkpoint === undefined || log === undefined) return undefined;
  return openCheckpoint(Buffer.from(checkpoint), { log }).checkpoint;
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

/** Throws LOG_INVALID where the log was found false, and there is no more than `why` to say that it is true again. */
function checkNotAccused({ accused }: Pick<Met, 'accused'>, why: string): void {
  if (accused === undefined) return;
  const { origin, message, at } = accused;
  const found = `${tellFalse(origin, message)}${tellKept(accused.evidence)}`;
  throw new CscError(
    'LOG_INVALID',
    `${found}. So it was found at ${at}, and it has not been seen true since (${why}). Ask its owners; csc audit forget ${origin} forgets it, and keeps a note of it`,
  );
}

const tellFalse = (origin: string, message: string): string => `THE LOG ${origin} IS FALSE: ${message}`;

/**
 * Throws LOG_INVALID, with the evidence kept, before LOG_MISSING: that a log is false is worse than that too few have seen it.
 * False where somebody else has met the log meanwhile, and it is to be asked again: two that ask at once could be shown two
 * trees, each of which adds to what both had met.
 */
async function judge(
  ports: LogPorts,
  met: Met,
  answer: ProveReceiptsResponse,
  own: readonly OwedReceipt[],
): Promise<boolean> {
  const { trust, seen, place } = ports;
  const { log, owed } = met;
  const { logVkey } = answer;
  if (log === undefined || (trust === undefined && logVkey !== '' && logVkey !== formatVkey(log)))
    return meet(ports, met, answer);
  const vkey = formatVkey(log);
  const shown: ShownLog = { log, met, before: seenHead(met), answer };
  if (trust !== undefined && logVkey !== '' && logVkey !== vkey)
    return accuse(ports, shown, {
      message: `its key is ${logVkey}, and ${vkey} is demanded: ${begunAnew}, and tell its new key`,
    });
  if (answer.checkpoint.length === 0) return judgeEmpty(ports, shown);
  // What it has only just handed out it knows.
  const unknown = without(owed, own).filter((it) => answer.unknownExecutionIds.includes(it.executionId));
  const asked = without(owed, unknown);
  try {
    const checkpoint = await takeCheckpoint(ports, shown);
    if (checkpoint === undefined) return false;
    const missing = asked.filter((it) => !isProven(it, answer, checkpoint));
    // They stay owed: until they are proven, or a person forgets them, it is false.
    if (missing.length > 0) throw missingFrom(checkpoint.size, missing);
  } catch (error) {
    if (isCscError(error, 'LOG_INVALID'))
      return accuse(ports, shown, { message: error.message, cause: error });
    throw error;
  }
  if (trust !== undefined) openCheckpoint(answer.checkpoint, trust, cosignedLately(ports.now()));
  await forgetOwed(seen, place, asked);
  if (unknown.length === 0) await acquit(seen, place, { vkey, at: met.accused?.at });
  else await giveUp(ports, shown, unknown);
  return true;
}

/** What a gate shows of a log, to whoever has met it before. */
interface ShownLog {
  readonly log: NoteKey;
  readonly met: Met;
  /** The newest checkpoint that was met. */
  readonly before: Checkpoint | undefined;
  readonly answer: ProveReceiptsResponse;
}

// It has none, or none that it shows: true where that may be.
async function judgeEmpty(ports: LogPorts, shown: ShownLog): Promise<boolean> {
  const { log, met, before } = shown;
  if (before !== undefined)
    return accuse(ports, shown, { message: `it had ${before.size} entries, and is gone` });
  checkNotAccused(met, 'the gate shows none now');
  if (ports.trust !== undefined)
    throw new CscError('LOG_MISSING', `the gate keeps no log of receipts, and ${log.name} is demanded`);
  if (met.owed.length > 0) warnOnce(ports, 'empty log', shownEmpty(log.name, met.owed));
  return true;
}

/**
 * Keeps the checkpoint that is shown, where the log has only added to what was met of it. Undefined where somebody else has met
 * another one meanwhile, and it is to be asked again. Throws LOG_INVALID, LOG_MISSING.
 */
async function takeCheckpoint(
  ports: LogPorts,
  { log, met, before, answer }: ShownLog,
): Promise<Checkpoint | undefined> {
  const { seen } = ports;
  const { checkpoint } = openCheckpoint(answer.checkpoint, { log });
  if (before !== undefined) verifyConsistency(before, checkpoint, answer.consistency);
  const vkey = formatVkey(log);
  return inTurn(seen, async () => {
    const now = await seen.seenOf(vkey);
    if (now.checkpoint !== undefined && now.checkpoint !== met.checkpoint) {
      const other = seenHead({ log, checkpoint: now.checkpoint });
      if (other?.size !== checkpoint.size) return undefined;
      verifyConsistency(other, checkpoint, []);
    }
    await seen.keep(vkey, { ...now, checkpoint: answer.checkpoint.toString() });
    return checkpoint;
  });
}

/** Keeps what proves that a log is false, and that it was found so there. Throws LOG_INVALID. */
async function accuse(
  { seen, place, now: time }: LogPorts,
  { log, met, answer }: ShownLog,
  { message, cause }: { readonly message: string; readonly cause?: unknown },
): Promise<never> {
  const vkey = formatVkey(log);
  const shown = answer.checkpoint.toString();
  const { checkpoint: last = '' } = await seen.seenOf(vkey);
  const seenCheckpoint = last === shown ? (met.checkpoint ?? '') : last;
  const found: LogEvidence = { message, seenCheckpoint, shownCheckpoint: shown, receipts: met.owed };
  const { accused } = await seen.seenOf(place);
  // Asked again and again, it fills no disk with the same.
  const evidence = accused?.message === message ? accused.evidence : await seen.accuse(log.name, found);
  // That a gate has another key than is demanded, whoever demands it sees each time.
  const isOtherKey = answer.logVkey !== '' && answer.logVkey !== vkey;
  if (!isOtherKey)
    await inTurn(seen, async () => {
      const at = time().toISOString();
      const now = await seen.seenOf(place);
      await seen.keep(place, { ...now, accused: { origin: log.name, vkey, message, at, evidence } });
    });
  throw new CscError('LOG_INVALID', `${tellFalse(log.name, message)}${tellKept(evidence)}`, { cause });
}

/**
 * Of what the gate does not know any more nothing will be proven: it is no longer owed, which is said, with what is known of
 * it kept. Throws LOG_MISSING where a log is demanded: there nobody but a person forgets what is owed.
 */
async function giveUp(
  { trust, seen, place, onWarning }: LogPorts,
  { log, met, answer }: ShownLog,
  unknown: readonly OwedReceipt[],
): Promise<void> {
  const message = `the gate does not know ${namesOf(unknown)} any more, whose receipt it has handed out and has not proven: ${wasSetBack}`;
  if (trust !== undefined) throw new CscError('LOG_MISSING', message);
  // What was missing is not there by being unknown now.
  checkNotAccused(met, `the gate does not know ${namesOf(unknown)} any more`);
  await forgetOwed(seen, place, unknown);
  const evidence = {
    message,
    seenCheckpoint: met.checkpoint ?? '',
    shownCheckpoint: answer.checkpoint.toString(),
    receipts: unknown,
  };
  onWarning(`${message}${await keptIn(seen, log.name, evidence)}`);
}

// A gate that is behind says so, and shows none that is empty: each that has signed a receipt has an entry of it.
const shownEmpty = (name: string, owed: readonly OwedReceipt[]): string =>
  `the gate shows no entry of its log ${name}, and has handed out ${owed.length} receipts that must be in it: what it leaves out, nobody sees. Ask its owners, and pin its key (--log-vkey)`;
const keptNone =
  'the gate shows no log of receipts, as gates of an early release: what it hides of what ran, nobody sees. Bring it up to date, and pin the key of its log (--log-vkey)';

// It is so with each receipt, until somebody looks after it.
function warnOnce({ told, onWarning }: LogPorts, what: 'empty log' | 'no log', message: string): void {
  if (told.has(what)) return;
  told.add(what);
  onWarning(message);
}

const begunAnew =
  'unless the owners have begun it anew, the gate hides what it had shown. Where they have, let them say so';
const wasSetBack =
  'unless its database was set back (restored from a backup), or it keeps receipts no longer than that, it hides them. Ask its owners; ' +
  'csc audit forget EXECUTION forgets what is owed here, and keeps a note of it';

async function keptIn(seen: SeenLogs, name: string, evidence: LogEvidence): Promise<string> {
  return tellKept(await seen.accuse(name, evidence));
}

const tellKept = (place: string): string => (place === '' ? '' : `. Both checkpoints are kept in ${place}`);

/** Remembers the log that the gate names: the first, or another than before, which is told. */
async function meet(ports: LogPorts, met: Met, answer: ProveReceiptsResponse): Promise<boolean> {
  const { seen, place, onWarning } = ports;
  const { logVkey } = answer;
  checkNotAccused(
    met,
    logVkey === '' ? 'the gate shows none now' : `the gate shows one of the key ${logVkey} now`,
  );
  if (logVkey === '') {
    warnOnce(ports, 'no log', keptNone);
    return true;
  }
  const log = toLog(logVkey);
  const shown = answer.checkpoint.toString();
  // None yet: there is nothing in it.
  if (shown !== '') openCheckpoint(answer.checkpoint, { log });
  if (met.log !== undefined) {
    const { vkey = '', metAt = '' } = met.firstUse ?? {};
    const message = `the log of the gate has another key, ${logVkey}, than ${vkey}, which was met on ${metAt}: ${begunAnew}`;
    const evidence = {
      message,
      seenCheckpoint: met.checkpoint ?? '',
      shownCheckpoint: shown,
      receipts: met.owed,
    };
    const told = `${message}${await keptIn(seen, log.name, evidence)}`;
    onWarning(told);
  }
  const at = met.firstUse?.askedAt ?? ports.now().toISOString();
  await inTurn(seen, async () => {
    const known = await seen.seenOf(logVkey);
    // What others have met of it counts: this adds to it, or the next answer shows that it does not.
    if (shown !== '' && known.checkpoint === undefined)
      await seen.keep(logVkey, { ...known, checkpoint: shown });
    await seen.keep(place, { owed: [], firstUse: { vkey: logVkey, metAt: at, askedAt: at } });
  });
  return true;
}

function toOwed({ executionId, receiptJson, originalJson }: ReceiptInLog): OwedReceipt {
  // The form that stands in its executor's chain.
  return { executionId, sha256: sha256Hex(originalJson.length > 0 ? originalJson : receiptJson) };
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
  const message = `of its ${size} entries none is the receipt of ${namesOf(missing)}, which the gate has handed out`;
  return new CscError('LOG_INVALID', message);
}

function namesOf(receipts: readonly OwedReceipt[]): string {
  return receipts.map(({ executionId, sha256 }) => `${executionId} (${sha256.slice(0, 16)}…)`).join(', ');
}

// Of a receipt that was verified. NaN where it says none: it is owed to nobody then.
function endOf({ receiptJson }: ReceiptInLog): number {
  const { ended_at: end }: { ended_at?: unknown } = JSON.parse(Buffer.from(receiptJson).toString());
  return typeof end === 'string' ? Date.parse(end) : Number.NaN;
}

import { CscError, isCscError, orThrow } from '@csc-fleet/common/errors';
import type { ProveReceiptsResponse } from '@csc-fleet/common/messages';
import {
  type Checkpoint,
  cosignedLately,
  formatVkey,
  leafHash,
  type NoteKey,
  openCheckpoint,
  parseEntry,
  verifyConsistency,
  verifyInclusion,
} from '@csc-fleet/common/tlog';
import { inTurn } from './in-turn.ts';
import { checkNotAccused, type LogPorts, type Met, seenHead, tellFalse, tellKept, toLog } from './met-log.ts';
import {
  acquit,
  forgetOwed,
  type LogEvidence,
  type OwedReceipt,
  type SeenLogs,
  without,
} from './seen-logs.ts';

/**
 * Throws LOG_INVALID, with the evidence kept, before LOG_MISSING: that a log is false is worse than that too few have seen it.
 * False where somebody else has met the log meanwhile, and it is to be asked again: two that ask at once could be shown two
 * trees, each of which adds to what both had met.
 */
export async function judge(
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

async function keptIn(seen: SeenLogs, name: string, evidence: LogEvidence): Promise<string> {
  return tellKept(await seen.accuse(name, evidence));
}

import { parseBase64, type Signer, toBase64 } from '../crypto/index.ts';
import { CscError, faulty, orThrow, type Parsed, parsed } from '../errors/index.ts';
import {
  formatNote,
  isKeyName,
  type Note,
  type NoteKey,
  type NoteVoucher,
  parseNote,
  parseVkey,
  signText,
  vouchersOf,
} from './note.ts';
import { hashLength, type TreeHead } from './tree.ts';

/** What a log says of itself: who it is and its tree (C2SP tlog-checkpoint). */
export interface Checkpoint extends TreeHead {
  /** The name of the log, which its key has, too. */
  readonly origin: string;
}

/** The text of a checkpoint, that is signed. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

/** Reads the text of a checkpoint; extension lines are taken, and nothing is made of them. */
export function parseCheckpointText(text: string): Parsed<Checkpoint> {
  const [origin = '', digits = '', encoded = '', ...rest] = text.split('\n');
  if (!isKeyName(origin)) return faulty('has no origin in its first line');
  const size = Number(digits);
  if (!/^(0|[1-9]\d{0,15})$/.test(digits) || !Number.isSafeInteger(size))
    return faulty('has no tree size in its second line');
  const root = parseBase64(encoded);
  if (root?.length !== hashLength) return faulty('has no root hash in its third line');
  if (rest.pop() !== '' || rest.includes('')) return faulty('has an empty line in its text');
  return parsed({ origin, size, root });
}

/** A checkpoint, signed by its log: a note. */
export function signCheckpoint(checkpoint: Checkpoint, signer: Signer): string {
  const text = checkpointText(checkpoint);
  return formatNote({ text, signatures: [signText(text, checkpoint.origin, signer)] });
}

/** Reads a note that is a checkpoint, and verifies nothing. */
export function parseCheckpoint(bytes: Uint8Array): Parsed<{ note: Note; checkpoint: Checkpoint }> {
  const note = parseNote(bytes);
  if (!note.ok) return note;
  const checkpoint = parseCheckpointText(note.value.text);
  return checkpoint.ok ? parsed({ note: note.value, checkpoint: checkpoint.value }) : checkpoint;
}

/** Whose word is needed for a checkpoint to count. */
export interface LogTrust {
  readonly log: NoteKey;
  /** Absent: none. */
  readonly witnesses?: readonly NoteKey[];
  /** How many of the witnesses must have cosigned. Absent: 0. */
  readonly quorum?: number;
}

/**
 * Whose word is needed, as people pin it. Throws CONFIG_INVALID where a vkey is none, one is of another kind, more witnesses are
 * due than are named, or one key is to count twice: whoever has it, the log among them, would be a quorum alone.
 */
export function toLogTrust(pinned: {
  readonly vkey: string;
  /** Absent: none. */
  readonly witnessVkeys?: readonly string[] | undefined;
  /** Absent: 0. */
  readonly quorum?: number | undefined;
}): LogTrust {
  const { vkey, witnessVkeys = [], quorum = 0 } = pinned;
  const log = toKey(vkey, 'ed25519', 'the vkey of the log');
  const witnesses = witnessVkeys.map((it) => toKey(it, 'cosignature', 'the vkey of a witness'));
  const keys = [log, ...witnesses].map(({ publicKey }) => toBase64(publicKey));
  const twice = keys.findIndex((it, index) => keys.indexOf(it) !== index);
  if (twice > 0)
    throw misconfigured(
      `the witness ${witnesses[twice - 1]?.name} has the key of the log or of another witness: each counts once`,
    );
  if (quorum > witnesses.length)
    throw misconfigured(`${quorum} witnesses are demanded, and ${witnesses.length} are named`);
  return { log, witnesses, quorum };
}

function toKey(text: string, type: NoteKey['type'], what: string): NoteKey {
  const key = orThrow(parseVkey(text), 'CONFIG_INVALID', what);
  if (key.type === type) return key;
  throw misconfigured(
    `${what}, ${key.name}, is ${type === 'ed25519' ? 'that of a witness' : 'that of a log'}`,
  );
}

function misconfigured(message: string): CscError {
  return new CscError('CONFIG_INVALID', message);
}

/**
 * Within which time a cosignature must have been made to count: it says what the witness had seen of the log until
 * then, and nothing of what came since.
 */
export interface CosignedIn {
  readonly from: Date;
  readonly until: Date;
}

/** No older than now, or than what it vouches for. Gates have their logs cosigned anew each hour, also where nothing comes. */
export const maxCosignatureAgeMs = 24 * 60 * 60_000;
/** As far as clocks of witnesses, gates and those who verify may differ. */
export const cosignatureToleranceMs = 5 * 60_000;

/** For who asks for a log now: an older cosignature is of what it was, and a gate may have hidden what came since. */
export function cosignedLately(now: Date): CosignedIn {
  return toCosignedIn(now.getTime(), now);
}

/**
 * For who looks at evidence, whenever: the same, by what it vouches for. That is of hosts, whose clocks may be wrong:
 * by less than a day, none makes the word of a witness void.
 * @param covered as `CoveredTimes` has it
 */
export function cosignedSince(covered: number | undefined, now: Date): CosignedIn {
  return toCosignedIn(covered ?? maxCosignatureAgeMs + cosignatureToleranceMs, now);
}

function toCosignedIn(at: number, now: Date): CosignedIn {
  return {
    from: new Date(at - maxCosignatureAgeMs - cosignatureToleranceMs),
    until: new Date(now.getTime() + cosignatureToleranceMs),
  };
}

/** A checkpoint that counts. */
export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: Note;
  /** Of the witnesses that are known, and in time where that was asked for. */
  readonly cosigned: readonly NoteVoucher[];
}

/**
 * Verifies a checkpoint: the log's own signature and origin, or LOG_INVALID; enough witnesses, or LOG_MISSING.
 * @param when their cosignatures must be of. Absent: of any time
 */
export function openCheckpoint(
  bytes: Uint8Array,
  { log, witnesses = [], quorum = 0 }: LogTrust,
  when?: CosignedIn,
): OpenedCheckpoint {
  const { note, checkpoint } = orThrow(parseCheckpoint(bytes), 'LOG_INVALID', 'the checkpoint');
  if (checkpoint.origin !== log.name)
    throw invalid(`the checkpoint is of the log ${checkpoint.origin}, and the pinned key is of ${log.name}`);
  if (vouchersOf(note, [log]).length === 0)
    throw invalid(`the checkpoint is not signed with the pinned key of the log ${log.name}`);
  const vouchers = vouchersOf(note, witnesses);
  const cosigned = vouchers.filter((it) => when === undefined || isIn(it, when));
  if (cosigned.length < quorum) {
    const why = whyTooFew(witnesses, vouchers, cosigned, when);
    throw new CscError(
      'LOG_MISSING',
      `the checkpoint of ${checkpoint.size} entries is cosigned by ${cosigned.length} of the witnesses, and ${quorum} are due: ${why}`,
    );
  }
  return { checkpoint, note, cosigned };
}

function isIn({ seconds = 0n }: NoteVoucher, { from, until }: CosignedIn): boolean {
  const ms = seconds * 1000n;
  return ms >= BigInt(from.getTime()) && ms <= BigInt(until.getTime());
}

function whyTooFew(
  witnesses: readonly NoteKey[],
  vouchers: readonly NoteVoucher[],
  cosigned: readonly NoteVoucher[],
  when: CosignedIn | undefined,
): string {
  const absent = witnesses.filter((it) => !vouchers.some(({ key }) => key === it)).map(({ name }) => name);
  const untimely = vouchers
    .filter((it) => !cosigned.includes(it))
    .map(({ key, seconds }) => `${key.name} did at ${toTime(seconds)}`);
  return [
    ...(absent.length === 0 ? [] : [`${absent.join(', ')} did not`]),
    ...(untimely.length === 0 || when === undefined
      ? []
      : [
          `${untimely.join(', ')}, and what counts is from ${when.from.toISOString()} until ${when.until.toISOString()}: it shows an old log, or a clock is wrong`,
        ]),
  ].join('; ');
}

/** When a quorum of those had cosigned, ISO 8601; undefined where none is due. */
export function cosignedAt(cosigned: readonly NoteVoucher[], quorum = 0): string | undefined {
  const seconds = cosigned.map((it) => it.seconds ?? 0n).sort((one, other) => (one < other ? 1 : -1));
  const last = seconds[quorum - 1];
  return last === undefined ? undefined : toTime(last);
}

// A witness may say any time: that of the year 9999 is shown as such.
function toTime(seconds = 0n): string {
  const latest = 253_402_300_799n;
  return new Date(Number(seconds < latest ? seconds : latest) * 1000).toISOString();
}

function invalid(message: string): CscError {
  return new CscError('LOG_INVALID', message);
}

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

/** A checkpoint that counts. */
export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: Note;
  /** Of the witnesses that are known. */
  readonly cosigned: readonly NoteVoucher[];
}

/** Verifies a checkpoint: the log's own signature and origin, or LOG_INVALID; enough witnesses, or LOG_MISSING. */
export function openCheckpoint(
  bytes: Uint8Array,
  { log, witnesses = [], quorum = 0 }: LogTrust,
): OpenedCheckpoint {
  const { note, checkpoint } = orThrow(parseCheckpoint(bytes), 'LOG_INVALID', 'the checkpoint');
  if (checkpoint.origin !== log.name)
    throw invalid(`the checkpoint is of the log ${checkpoint.origin}, and the pinned key is of ${log.name}`);
  if (vouchersOf(note, [log]).length === 0)
    throw invalid(`the checkpoint is not signed with the pinned key of the log ${log.name}`);
  const cosigned = vouchersOf(note, witnesses);
  if (cosigned.length < quorum) {
    const absent = witnesses.filter((it) => !cosigned.some(({ key }) => key === it)).map(({ name }) => name);
    throw new CscError(
      'LOG_MISSING',
      `the checkpoint of ${checkpoint.size} entries is cosigned by ${cosigned.length} of the witnesses, and ${quorum} are due: ${absent.join(', ')} did not`,
    );
  }
  return { checkpoint, note, cosigned };
}

function invalid(message: string): CscError {
  return new CscError('LOG_INVALID', message);
}

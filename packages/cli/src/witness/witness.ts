import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Signer } from '@csc-fleet/common/crypto';
import { lockStatement, openLock } from '@csc-fleet/common/database';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { makeDirectory, readBoundedFile, replaceFile, syncPath } from '@csc-fleet/common/files';
import {
  type Checkpoint,
  cosignText,
  emptyRoot,
  formatSignatureLine,
  isSame,
  maxNoteBytes,
  type Note,
  type NoteKey,
  openCheckpoint,
  parseAddCheckpoint,
  parseCheckpoint,
  verifyConsistency,
  vouchersOf,
} from '@csc-fleet/common/tlog';

/** What a witness answers, as HTTP has it. */
export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422;
  readonly type: 'text/plain; charset=utf-8' | 'text/x.tlog.size';
  readonly body: string;
}

export interface WitnessPorts {
  readonly name: string;
  readonly signer: Signer;
  /** The logs that it looks after: no two of one name. */
  readonly logs: readonly NoteKey[];
  /** Where it keeps the newest checkpoint of each. */
  readonly directory: string;
  readonly now: () => Date;
  /** How long it waits for another process that signs with the same directory, in milliseconds. Default: 5 s. */
  readonly patienceMs?: number;
  /** Told where a log contradicts what it has signed before. */
  readonly onFork: (message: string) => void;
}

const plain = 'text/plain; charset=utf-8';

/**
 * A witness (C2SP tlog-witness): cosigns each checkpoint that only adds to the one before, and no other. What it has
 * cosigned last is on the disk before its cosignature leaves, and all of it is done in one turn and by one process at a
 * time, so that of two requests for one log the second one sees the first, wherever it comes in.
 */
export class Witness {
  readonly #ports: WitnessPorts;
  readonly #lock: DatabaseSync;

  constructor(ports: WitnessPorts) {
    this.#ports = ports;
    makeDirectory(join(ports.directory, 'logs'), { mode: 0o700 });
    this.#lock = openLock(join(ports.directory, 'witness.lock'), ports.patienceMs ?? 5000);
  }

  /**
   * Answers add-checkpoint. Throws LOG_INVALID or FILE_UNREADABLE where what it remembers cannot be read, STORE_UNAVAILABLE where
   * another process is at it: it signs nothing then.
   */
  addCheckpoint(body: Uint8Array): WitnessAnswer {
    try {
      this.#lock.exec(lockStatement);
    } catch (cause) {
      const message = `another process signs with ${this.#ports.directory}, and does not end`;
      throw new CscError('STORE_UNAVAILABLE', message, { cause });
    }
    try {
      return this.#answer(body);
    } finally {
      this.#lock.exec('ROLLBACK;');
    }
  }

  #answer(body: Uint8Array): WitnessAnswer {
    const asked = parseAddCheckpoint(body);
    if (!asked.ok) return refuse(400, asked.faults[0]?.message);
    const { oldSize, proof } = asked.value;
    const opened = parseCheckpoint(asked.value.checkpoint);
    if (!opened.ok) return refuse(400, opened.faults[0]?.message);
    const { note, checkpoint } = opened.value;
    const log = this.#ports.logs.find(({ name }) => name === checkpoint.origin);
    if (log === undefined) return refuse(404, 'this witness does not know that log');
    if (!isSignedBy(note, log)) return refuse(403, 'no signature is with the key of that log');
    if (oldSize > checkpoint.size) return refuse(400, 'the old size is larger than the new one');
    const last = this.#last(log);
    if (oldSize !== last.size) return { status: 409, type: 'text/x.tlog.size', body: `${last.size}\n` };
    if (oldSize === checkpoint.size && !isSame(last.root, checkpoint.root)) {
      this.#accuse(checkpoint, asked.value.checkpoint, `it has two trees of ${oldSize} entries`);
      return { status: 409, type: 'text/x.tlog.size', body: `${last.size}\n` };
    }
    try {
      verifyConsistency(last, checkpoint, proof);
    } catch (error) {
      if (!isCscError(error, 'LOG_INVALID')) throw error;
      this.#accuse(checkpoint, asked.value.checkpoint, error.message);
      return refuse(422, error.message);
    }
    this.#keep(log, asked.value.checkpoint);
    const seconds = Math.floor(this.#ports.now().getTime() / 1000);
    const line = cosignText(note.text, this.#ports.name, this.#ports.signer, seconds);
    return { status: 200, type: plain, body: formatSignatureLine(line) };
  }

  #last(log: NoteKey): Pick<Checkpoint, 'size' | 'root'> {
    const file = this.#fileOf(log);
    if (!existsSync(file)) return { size: 0, root: emptyRoot };
    const { bytes } = readBoundedFile(file, { maxBytes: maxNoteBytes });
    return openCheckpoint(bytes, { log }).checkpoint;
  }

  #keep(log: NoteKey, note: Uint8Array): void {
    replaceFile(this.#fileOf(log), note, 0o600);
    // A rename that a power cut takes back would have it sign another tree.
    syncPath(join(this.#ports.directory, 'logs'));
  }

  #fileOf({ name }: NoteKey): string {
    return join(this.#ports.directory, 'logs', sha256Hex(name));
  }

  // Anybody may send what the log has signed once: that is shown, and kept, as often as there is room.
  #accuse({ origin, size }: Checkpoint, note: Uint8Array, why: string): void {
    const directory = join(this.#ports.directory, 'evidence');
    makeDirectory(directory, { mode: 0o700 });
    const last = join(this.#ports.directory, 'logs', sha256Hex(origin));
    const seen = existsSync(last) ? readBoundedFile(last, { maxBytes: maxNoteBytes }).bytes : Buffer.alloc(0);
    const text = Buffer.concat([seen, Buffer.from('\n'), note]);
    const file = join(directory, `${sha256Hex(text).slice(0, 16)}.txt`);
    if (existsSync(file)) return;
    const kept = readdirSync(directory).length < mostEvidence;
    if (kept) replaceFile(file, text, 0o600);
    const where = kept ? `: both checkpoints are in ${file}` : '';
    this.#ports.onFork(`THE LOG ${origin} IS FALSE at ${size} entries: ${why}${where}`);
  }
}

const mostEvidence = 256;

function isSignedBy(note: Note, log: NoteKey): boolean {
  try {
    return vouchersOf(note, [log]).length > 0;
  } catch (error) {
    if (error instanceof CscError) return false;
    throw error;
  }
}

function refuse(status: 400 | 403 | 404 | 422, message = 'it cannot be read'): WitnessAnswer {
  return { status, type: plain, body: `${message}\n` };
}

import { isUtf8 } from 'node:buffer';
import { parseBase64, toBase64 } from '../crypto/index.ts';
import { toBuffer } from '../encoding/index.ts';
import { faulty, type Parsed, parsed } from '../errors/index.ts';
import { maxNoteBytes } from './note.ts';
import { hashLength, maxProofHashes } from './tree.ts';

/** What a witness is asked (C2SP tlog-witness, add-checkpoint). */
export interface AddCheckpoint {
  /** The size of the tree that the witness has cosigned last. */
  readonly oldSize: number;
  readonly proof: readonly Uint8Array[];
  /** A signed note, unread. */
  readonly checkpoint: Uint8Array;
}

/** A longer request is refused unread. */
export const maxAddCheckpointBytes = maxNoteBytes + 4096;

/** The body of such a request. */
export function formatAddCheckpoint({ oldSize, proof, checkpoint }: AddCheckpoint): Buffer {
  const head = `old ${oldSize}\n${proof.map((it) => `${toBase64(it)}\n`).join('')}\n`;
  return Buffer.concat([Buffer.from(head), checkpoint]);
}

/** Reads it. */
export function parseAddCheckpoint(body: Uint8Array): Parsed<AddCheckpoint> {
  if (body.length > maxAddCheckpointBytes || !isUtf8(body)) return faulty('is too long, or not UTF-8');
  const bytes = toBuffer(body);
  const at = bytes.indexOf('\n\n');
  if (at < 0) return faulty('has no empty line before its checkpoint');
  const [first = '', ...lines] = bytes.subarray(0, at).toString('utf8').split('\n');
  const digits = /^old (0|[1-9]\d{0,15})$/.exec(first)?.[1];
  const oldSize = Number(digits);
  if (digits === undefined || !Number.isSafeInteger(oldSize))
    return faulty('does not begin with the old size');
  if (lines.length > maxProofHashes) return faulty(`has more than ${maxProofHashes} hashes`);
  const proof: Uint8Array[] = [];
  for (const line of lines) {
    const hash = parseBase64(line);
    if (hash?.length !== hashLength) return faulty('has a proof line that is no hash');
    proof.push(hash);
  }
  return parsed({ oldSize, proof, checkpoint: bytes.subarray(at + 2) });
}

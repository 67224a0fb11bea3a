import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { explainFileError } from '@csc-fleet/common/files';
import { parseReceipt, type ReceiptV02 } from '@csc-fleet/common/receipt';

/** Where an executor keeps its receipts, in its state directory: one file a month. */
export const archiveDirectory = 'receipts';

/** A receipt of the archive, as it stands there. */
export interface ArchivedReceipt {
  readonly receipt: ReceiptV02;
  /** Canonical JSON, signed. */
  readonly receiptJson: Buffer;
}

const segmentName = /^(\d{4})-(\d{2})\.log$/;

/** The segments in a directory, the oldest first; none where there is no directory. Throws FILE_UNREADABLE. */
export function listSegments(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => segmentName.test(name))
      .sort();
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return [];
    throw unreadable(directory, cause);
  }
}

/** The segment that a receipt goes into at this time (UTC). */
export function toSegmentName(now: Date): string {
  return `${now.toISOString().slice(0, 7)}.log`;
}

/** When nothing more could be written to a segment, as milliseconds since 1970: the beginning of the next month, UTC. */
function segmentEnd(name: string): number {
  const [, year, month] = segmentName.exec(name) ?? [];
  return Date.UTC(Number(year), Number(month), 1);
}

/** How long, and how much of it, a host keeps its receipts. */
export interface ArchiveRetention {
  readonly days: number;
  /** Of all segments. Absent: as much as there is, as who can have a host sign could push out what it signed before. */
  readonly maxBytes?: number | undefined;
}

/** A segment that is due to go, and its bytes. */
export interface DueSegment {
  readonly name: string;
  readonly bytes: number;
}

/** The segments that are not kept any more: whole months, the oldest first, and never the newest for its size. */
export function dueSegments(
  directory: string,
  now: Date,
  { days, maxBytes }: ArchiveRetention,
): DueSegment[] {
  const before = now.getTime() - days * 24 * 60 * 60 * 1000;
  const all = listSegments(directory).map((name) => ({ name, bytes: statSync(join(directory, name)).size }));
  let excess = all.reduce((sum, { bytes }) => sum + bytes, 0) - (maxBytes ?? Number.MAX_SAFE_INTEGER);
  return all.filter(({ name, bytes }, index) => {
    const isDue = segmentEnd(name) <= before || (excess > 0 && index < all.length - 1);
    if (isDue) excess -= bytes;
    return isDue;
  });
}

/** Bytes of the length before each receipt: u32, big-endian. */
export const lengthBytes = 4;

/** A receipt as a segment holds it. */
export function toRecord(receiptJson: Uint8Array): Buffer {
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(receiptJson.length);
  return Buffer.concat([length, receiptJson]);
}

/** One record of a segment, and where the next one begins. */
export interface SegmentRecord {
  readonly bytes: Buffer;
  readonly end: number;
}

/**
 * The whole records of a segment, in order, one in memory at a time. What follows the last of them, as where the host lost
 * its power or is writing just now, is left out. Throws FILE_UNREADABLE, also for a length that no receipt has.
 */
export function* readRecords(path: string): Generator<SegmentRecord, void> {
  const file = openToRead(path);
  try {
    const { size } = fstatSync(file);
    for (let at = 0; at + lengthBytes <= size; ) {
      const length = readAt(file, at, lengthBytes).readUInt32BE();
      // A file system may have given the file its length, and not its content.
      if (length === 0) return;
      if (length > artifactBytes.receipt)
        throw new CscError('FILE_UNREADABLE', `${path} holds no receipt at byte ${at}`);
      const end = at + lengthBytes + length;
      if (end > size) return;
      yield { bytes: readAt(file, at + lengthBytes, length), end };
      at = end;
    }
  } finally {
    closeSync(file);
  }
}

function openToRead(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): CscError {
  return new CscError('FILE_UNREADABLE', `failed to read ${path}: ${explainFileError(cause)}`, { cause });
}

function readAt(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let read = 0; read < length; ) {
    const count = readSync(file, bytes, read, length - read, at + read);
    if (count === 0) throw new CscError('FILE_UNREADABLE', 'the file became shorter while it was read');
    read += count;
  }
  return bytes;
}

/** Every receipt of an archive, the oldest first. Throws FILE_UNREADABLE or RECEIPT_INVALID. */
export function* readArchive(directory: string): Generator<ArchivedReceipt, void> {
  for (const name of listSegments(directory)) {
    for (const { bytes } of readRecords(join(directory, name))) yield readArchived(bytes, name);
  }
}

/** A v0.2 receipt of a segment; the signature is not verified. Throws RECEIPT_INVALID. */
export function readArchived(receiptJson: Buffer, place: string): ArchivedReceipt {
  const receipt = orThrow(parseReceipt(receiptJson), 'RECEIPT_INVALID', `a receipt in ${place}`);
  if (receipt.receipt_version === 'csc.receipt.v0.2') return { receipt, receiptJson };
  throw new CscError('RECEIPT_INVALID', `a receipt in ${place} is in no chain: it is a v0.1 one`);
}

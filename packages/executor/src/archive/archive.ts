import { randomUUID } from 'node:crypto';
import { constants, copyFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, parseTimestamp } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import type { ReceiptTexts } from '@csc-fleet/common/evidence';
import { makeDirectory, syncPath } from '@csc-fleet/common/files';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import type { Journal, LostTime } from '../journal/index.ts';
import {
  type ArchiveRetention,
  dueSegments,
  listSegments,
  readArchived,
  readRecords,
  toRecord,
  toSegmentName,
} from './segments.ts';

/** The place of a receipt in the chains of a host. */
interface Place {
  readonly epoch: string;
  readonly sequence: number;
}

/**
 * Every signed outcome of a host, in the order of its chain, in files that are only ever added to: whatever a gate says
 * that it has, the host still shows it for as long as its owner wants that.
 */
export class Archive {
  readonly #directory: string;
  readonly #clock: Clock;
  #last: Place | undefined;
  #waiting: Buffer[] = [];
  #writing: Promise<void> | undefined;
  #segment: Segment | undefined;

  private constructor(directory: string, clock: Clock, last: Place | undefined) {
    this.#directory = directory;
    this.#clock = clock;
    this.#last = last;
  }

  /**
   * Opens the archive in a directory, which is made where it is not there; what a power cut has left of a last record is
   * taken away. Throws FILE_UNREADABLE, FILE_UNWRITABLE or RECEIPT_INVALID.
   */
  static open(directory: string, clock: Clock): Archive {
    makeDirectory(directory, { mode: 0o700 });
    return new Archive(directory, clock, cutTail(directory));
  }

  /** The newest receipt in it; undefined where there is none. */
  get last(): Place | undefined {
    return this.#last;
  }

  /** How far a chain goes in it; 0 where it has nothing of that epoch. Reads all of it. Throws as `open` does. */
  highest(epoch: string): number {
    let highest = 0;
    for (const name of listSegments(this.#directory))
      for (const { bytes } of readRecords(join(this.#directory, name))) {
        const place = readPlace(bytes, name);
        if (place?.epoch === epoch) highest = Math.max(highest, place.sequence);
      }
    return highest;
  }

  /** The newest receipt of an execution; undefined where it has none. Reads all of it. Throws as `open` does. */
  find(executionId: string): Buffer | undefined {
    for (const name of listSegments(this.#directory).reverse()) {
      let found: Buffer | undefined;
      for (const { bytes } of readRecords(join(this.#directory, name)))
        if (readWhole(bytes, name)?.execution_id === executionId) found = bytes;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * What it knows of the time that a journal which takes these executions for unfinished has forgotten. Throws as
   * `open` does.
   */
  lostTime(unfinished: readonly string[]): LostTime {
    return findLostTime(this.#directory, unfinished);
  }

  /**
   * Adds the next receipt of a chain; one that is there already is left out. It is written soon, and is certainly on disk
   * once `durable` has resolved.
   */
  add({ epoch, sequence }: Place, receiptJson: Uint8Array): void {
    if (this.#last?.epoch === epoch && sequence <= this.#last.sequence) return;
    this.#last = { epoch, sequence };
    this.#waiting.push(toRecord(receiptJson));
    // Whoever must know whether it is there asks `durable` again.
    this.durable().catch(() => undefined);
  }

  /**
   * Resolves once everything that was added would outlast a power cut. Rejects with STORE_UNAVAILABLE: it may be called
   * again.
   */
  async durable(): Promise<void> {
    while (this.#waiting.length > 0 || this.#writing !== undefined) {
      this.#writing ??= this.#write().finally(() => {
        this.#writing = undefined;
      });
      await this.#writing;
    }
  }

  /** Takes away the segments that are due. Gives how many are gone. */
  prune(retention: ArchiveRetention): number {
    const due = dueSegments(this.#directory, this.#clock.now(), retention);
    for (const { name } of due) rmSync(join(this.#directory, name));
    return due.length;
  }

  async close(): Promise<void> {
    await this.durable().catch(() => undefined);
    await this.#segment?.file.close();
  }

  async #write(): Promise<void> {
    // What the same turn still brings is on disk with it.
    await new Promise((resolve) => setImmediate(resolve));
    const records = this.#waiting;
    this.#waiting = [];
    try {
      const segment = await this.#open();
      const bytes = Buffer.concat(records);
      // At a place of its own: what an attempt that failed has left is written over.
      await writeWhole(segment.file, bytes, segment.length);
      await segment.file.datasync();
      segment.length += bytes.length;
    } catch (cause) {
      this.#waiting = [...records, ...this.#waiting];
      throw new CscError('STORE_UNAVAILABLE', "this host's receipts cannot be kept: look at its disk", {
        cause,
      });
    }
  }

  async #open(): Promise<Segment> {
    const due = toSegmentName(this.#clock.now());
    const current = this.#segment;
    if (current !== undefined && current.name >= due && this.#isInPlace(current)) return current;
    // A clock that goes back must not put a receipt before those that are there.
    const newest = listSegments(this.#directory).at(-1) ?? due;
    const name = [newest, due].sort().at(-1) ?? due;
    const file = await open(join(this.#directory, name), constants.O_RDWR | constants.O_CREAT, 0o600);
    const { size: length, ino } = await file.stat();
    syncPath(this.#directory);
    await current?.file.close();
    this.#segment = { name, file, ino, length };
    return this.#segment;
  }

  // What was deleted or moved away is nothing that the next reader of this directory finds.
  #isInPlace({ name, ino }: Segment): boolean {
    return statSync(join(this.#directory, name), { throwIfNoEntry: false })?.ino === ino;
  }
}

/** As `lostTime`, of an archive that is not open: all of it is read. */
export function findLostTime(directory: string, unfinished: readonly string[]): LostTime {
  const asked = new Set(unfinished);
  const ended: string[] = [];
  let signedUntil = 0;
  for (const name of listSegments(directory))
    for (const { bytes } of readRecords(join(directory, name))) {
      const receipt = readWhole(bytes, name);
      signedUntil = Math.max(signedUntil, signedAtOf(receipt));
      if (receipt !== undefined && asked.has(receipt.execution_id)) ended.push(receipt.execution_id);
    }
  return { ended, ...(signedUntil === 0 ? {} : { signedUntil: new Date(signedUntil) }) };
}

function signedAtOf(receipt: ReceiptV02 | undefined): number {
  return parseTimestamp(receipt?.signature?.signed_at ?? '')?.getTime() ?? 0;
}

interface Segment {
  readonly name: string;
  readonly file: FileHandle;
  readonly ino: number;
  /** Of what is certainly there. */
  length: number;
}

async function writeWhole(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, at + written);
    written += bytesWritten;
  }
}

/** The place of the newest receipt that is whole; what follows it in its segment is cut off. */
function cutTail(directory: string): Place | undefined {
  for (const name of listSegments(directory).reverse()) {
    const path = join(directory, name);
    let newest: ArchivedRecord | undefined;
    let previous: ArchivedRecord | undefined;
    for (const record of readRecords(path)) [previous, newest] = [newest, record];
    // Of the newest the content may be missing, too; the one before it was on disk before that was begun.
    for (const record of [newest, previous]) {
      const place = record === undefined ? undefined : readPlace(record.bytes, name);
      if (record === undefined || place === undefined) continue;
      cutAt(path, record.end);
      return place;
    }
    cutAt(path, 0);
  }
  return undefined;
}

interface ArchivedRecord {
  readonly bytes: Buffer;
  readonly end: number;
}

// A torn tail looks like a broken middle, behind which receipts may be whole: nothing is thrown away.
function cutAt(path: string, whole: number): void {
  if (statSync(path).size === whole) return;
  copyFileSync(path, `${path}.damaged-${randomUUID()}`, constants.COPYFILE_EXCL);
  truncateSync(path, whole);
}

function readPlace(bytes: Buffer, name: string): Place | undefined {
  const { executor_epoch: epoch, sequence } = readWhole(bytes, name) ?? {};
  return epoch === undefined || sequence === undefined ? undefined : { epoch, sequence };
}

// Of the last record the content may be missing, too: the journal has it until it is certainly here.
function readWhole(bytes: Buffer, name: string): ReceiptV02 | undefined {
  try {
    return readArchived(bytes, name).receipt;
  } catch (error) {
    if (isCscError(error, 'RECEIPT_INVALID')) return undefined;
    throw error;
  }
}

/**
 * Brings journal and archive in line at a start. What the journal has signed and the archive has not is added; the gate has
 * acknowledged none of it. Where the archive has more of this epoch than the journal knows, the journal is an older copy
 * of itself: it begins a new epoch, so that nothing that it has forgotten runs again. Gives whether it did.
 */
export async function reconcileArchive(archive: Archive, journal: Journal): Promise<boolean> {
  const { last } = archive;
  const known = journal.head()?.sequence ?? 0;
  // After another epoch's receipts, too: one copy of a journal may be restored again and again.
  const kept = last?.epoch === journal.epoch ? last.sequence : archive.highest(journal.epoch);
  const isOlder = kept > known;
  if (isOlder) await journal.beginEpoch(archive.lostTime(journal.unacknowledged()));
  else addMissing(archive, journal);
  await archive.durable();
  return isOlder;
}

function addMissing(archive: Archive, journal: Journal): void {
  const owed = journal.unacknowledged().flatMap((executionId) => {
    const texts = journal.receiptOf(executionId);
    if (texts === undefined) return [];
    // Where the disk has damaged the one copy, its place in the chain is not to stay empty.
    const copies = [texts, journal.spare(executionId).texts].flatMap((it) => it ?? []).map(inChain);
    const found = copies.map((chained) => ({ place: placeOfAny(chained), chained }));
    return found.flatMap(({ place, chained }) =>
      place?.epoch === journal.epoch ? [{ place, chained }] : [],
    );
  });
  owed.sort((one, other) => one.place.sequence - other.place.sequence);
  for (const { place, chained } of owed) archive.add(place, chained);
}

// A v0.1 receipt from before there was a chain stands in none.
function placeOfAny(receiptJson: Uint8Array): Place | undefined {
  return readPlace(Buffer.from(receiptJson), 'the journal');
}

/** The form of a receipt that stands in the chain. */
function inChain({ receiptJson, originalJson }: ReceiptTexts): Uint8Array {
  return originalJson ?? receiptJson;
}

/**
 * The journal, which forgets a receipt only once the archive has it for certain.
 * @param retention how long the archive keeps it
 */
export function withArchive(journal: Journal, archive: Archive, retention: ArchiveRetention): Journal {
  return {
    ...journal,
    get epoch() {
      return journal.epoch;
    },
    async refuse(refusal) {
      let place: Place | undefined;
      const texts = await journal.refuse({
        ...refusal,
        seal: (link) => {
          place = link;
          return refusal.seal(link);
        },
      });
      if (place !== undefined) archive.add(place, inChain(texts));
      return texts;
    },
    async finish(executionId, seal) {
      let place: Place | undefined;
      const finished = await journal.finish(executionId, (link) => {
        place = link;
        return seal(link);
      });
      if (place !== undefined) archive.add(place, inChain(finished));
      return finished;
    },
    archived: (executionId) => archive.find(executionId),
    async acknowledge(executionId, isLookedFor) {
      await archive.durable();
      await journal.acknowledge(executionId, isLookedFor);
    },
    async prune(now) {
      const gone = await journal.prune(now);
      if (gone === 0) archive.prune(retention);
      return gone;
    },
    async close() {
      await archive.close();
      await journal.close();
    },
  };
}

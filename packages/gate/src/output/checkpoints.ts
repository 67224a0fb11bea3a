import { appendFileSync, existsSync, rmSync } from 'node:fs';
import { isCscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import * as z from 'zod';

/** A place in an output log where a frame begins, and how far each stream is before it. */
export interface Checkpoint {
  readonly position: number;
  /** By stream key. A stream that is not named has nothing before. */
  readonly next: ReadonlyMap<string, number>;
}

// Further apart as the log grows, so that no log has more than a few thousand of them.
const leastBytes = 1024 * 1024;
const share = 256;
// Command ids may be long; then there is no checkpoint, and a reader begins earlier.
const maxLine = 16 * 1024;
const maxFileBytes = 32 * 1024 * 1024;

const lineSchema = z.strictObject({
  position: z.int().min(1),
  next: z.array(z.tuple([z.string(), z.int().min(1)])),
});

/**
 * Where to begin reading an output log, so that a reader of its end need not look through all of it. Kept in a file
 * beside the log, which is never relied on: what is not there or cannot be written costs a reader time and nothing else.
 */
export class Checkpoints {
  readonly #path: string;
  readonly #all: Checkpoint[];

  private constructor(path: string, all: readonly Checkpoint[]) {
    this.#path = path;
    this.#all = [...all];
  }

  /** None yet, whatever lies there from before. */
  static begin(path: string): Checkpoints {
    rmSync(path, { force: true });
    return new Checkpoints(path, []);
  }

  /** Those that are kept of a log of this length. */
  static load(path: string, length: number): Checkpoints {
    return new Checkpoints(path, readAll(path, length));
  }

  /** Notes a place if the last one is far enough behind. @param next how far each stream is */
  note(position: number, next: () => ReadonlyMap<string, number>): void {
    const last = this.#all.at(-1)?.position ?? 0;
    if (position - last < Math.max(leastBytes, last / share)) return;
    const checkpoint = { position, next: new Map(next()) };
    const line = `${JSON.stringify({ position, next: [...checkpoint.next] })}\n`;
    if (line.length > maxLine) return;
    this.#all.push(checkpoint);
    try {
      appendFileSync(this.#path, line, { mode: 0o600 });
    } catch {
      // As on a full disk: it is there while the log is open.
    }
  }

  /**
   * The last place before which nothing is wanted; undefined where that is the beginning.
   * @param isPast whether nothing is wanted before a place. Streams and time only go on: once it is not, it never is again
   */
  async last(
    isPast: (checkpoint: Checkpoint) => boolean | Promise<boolean>,
  ): Promise<Checkpoint | undefined> {
    let [low, high] = [0, this.#all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const checkpoint = this.#all[middle];
      if (checkpoint === undefined || !(await isPast(checkpoint))) high = middle;
      else low = middle + 1;
    }
    return this.#all[low - 1];
  }
}

function readAll(path: string, length: number): Checkpoint[] {
  const found: Checkpoint[] = [];
  for (const line of readLines(path)) {
    const checkpoint = parseLine(line);
    // Torn, or of more than there is: what follows is no better.
    if (checkpoint === undefined || checkpoint.position > length) break;
    if (checkpoint.position <= (found.at(-1)?.position ?? 0)) break;
    found.push(checkpoint);
  }
  return found;
}

function readLines(path: string): string[] {
  if (!existsSync(path)) return [];
  try {
    return readBoundedFile(path, { maxBytes: maxFileBytes }).bytes.toString().split('\n');
  } catch (error) {
    if (isCscError(error)) return [];
    throw error;
  }
}

function parseLine(line: string): Checkpoint | undefined {
  try {
    const { position, next } = lineSchema.parse(JSON.parse(line));
    return { position, next: new Map(next) };
  } catch {
    return undefined;
  }
}

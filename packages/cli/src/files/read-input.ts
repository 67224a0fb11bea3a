import { closeSync, createReadStream, openSync, readSync } from 'node:fs';
import { CscError } from '@csc-fleet/common/errors';
import { explainFileError } from '@csc-fleet/common/files';

/** The file name that means standard input. */
const stdinName = '-';

/**
 * The bytes of a file that a user named: `-` is standard input, and pipes are as good as files. Gives at most one byte
 * more than `maxBytes`, so that the parser can say that it is too long. Throws FILE_UNREADABLE.
 */
export async function readInput(path: string, maxBytes: number): Promise<Buffer> {
  try {
    return path === stdinName ? await readStdin(maxBytes + 1) : readFile(path, maxBytes + 1);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** The same piece by piece, of any length. Throws FILE_UNREADABLE. */
export async function* openInput(path: string): AsyncGenerator<Uint8Array, void> {
  try {
    yield* path === stdinName ? process.stdin : createReadStream(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Whether a user has named standard input, and no file. */
export function isStdin(path: string): boolean {
  return path === stdinName;
}

/** What to call an input in a message. */
export function inputName(path: string): string {
  return path === stdinName ? 'standard input' : path;
}

// It may be a non-blocking pipe, which only its own stream knows how to wait for.
async function readStdin(limit: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of process.stdin) {
    parts.push(part);
    total += part.length;
    if (total >= limit) break;
  }
  return Buffer.concat(parts, Math.min(total, limit));
}

function readFile(path: string, limit: number): Buffer {
  const fd = openSync(path, 'r');
  try {
    const parts: Buffer[] = [];
    for (let left = limit; left > 0; ) {
      const part = Buffer.allocUnsafe(Math.min(64 * 1024, left));
      const count = readSync(fd, part, 0, part.length, null);
      if (count === 0) break;
      parts.push(part.subarray(0, count));
      left -= count;
    }
    return Buffer.concat(parts);
  } finally {
    closeSync(fd);
  }
}

function unreadable(path: string, cause: unknown): CscError {
  const message = `failed to read ${inputName(path)}: ${explainFileError(cause)}`;
  return new CscError('FILE_UNREADABLE', message, { cause });
}

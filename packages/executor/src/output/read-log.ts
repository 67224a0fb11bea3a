import { stat } from 'node:fs/promises';
import {
  checkIntact,
  emptyDigest,
  type Frame,
  RunningDigest,
  readFrames,
  type StreamDigest,
  streamKey,
} from '@csc-fleet/common/output-log';
import { type CapturedStream, streamNumbers } from './captured-stream.ts';
import { LogFile } from './log-file.ts';

/** The reading side of an execution's output log: frames, appended until it has ended. */
export interface ReadableLog {
  readonly executionId: string;
  /** Bytes that can be read. */
  readonly length: number;
  /** True once nothing more will be appended. */
  readonly ended: boolean;
  /**
   * Whole frames from `offset`, which must be where a frame begins; about `maxBytes`, at least one frame.
   * @param into where they may be put. Absent: into memory of their own
   */
  read(offset: number, maxBytes: number, into?: Buffer): Promise<Uint8Array>;
  /** Resolves at the next change of `length` or `ended`, or when `abort` fires. */
  changed(abort?: AbortSignal): Promise<void>;
}

/** A log in a file. */
export interface StoredLog extends ReadableLog {
  /** Gives the file's descriptor back; what is there stays readable. */
  close(): Promise<void>;
}

/** Opens the log of a finished execution, of `length` bytes; 0: there is no file. */
export function openStoredLog(executionId: string, path: string, length: number): StoredLog {
  const file = new LogFile(path, length);
  return {
    executionId,
    length,
    ended: true,
    read: (offset, maxBytes, into) => file.read(offset, maxBytes, into),
    changed: () => new Promise(() => {}),
    close: () => file.close(),
  };
}

/** What a log holds, as its frames say. */
export interface LogContent {
  /** Bytes, up to the last frame that can be read. */
  readonly length: number;
  /** Bytes behind it of which nothing is known but that they are there, and why; absent: there are none. */
  readonly unreadable?: { readonly bytes: number; readonly why: string };
  /** Of one command's stream, or of all commands where `commandId` is absent. */
  digest(stream: CapturedStream, commandId?: string): StreamDigest;
}

const readAtOnce = 1024 * 1024;

/**
 * Reads through the log of an execution whose process died, perhaps in the middle of a frame. No file: empty. Never
 * rejects: the receipt must come, and says of what cannot be read that it cannot.
 * @param most bytes of it, less what is no whole frame by then. Default: all
 */
export async function readLogContent(path: string, most = Number.POSITIVE_INFINITY): Promise<LogContent> {
  const size = await sizeOf(path);
  const file = new LogFile(path, Math.min(size, most));
  const digests = new Map<string, RunningDigest>();
  const { length, why } = await readThrough(file, digests);
  await file.close().catch(() => undefined);
  const bytes = size - length;
  return {
    length,
    ...(why === undefined ? {} : { unreadable: { bytes, why } }),
    digest: (stream, id) => digests.get(keyOf(stream, id))?.digest() ?? emptyDigest,
  };
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    (found) => found.size,
    () => 0,
  );
}

async function readThrough(
  file: LogFile,
  digests: Map<string, RunningDigest>,
): Promise<{ readonly length: number; readonly why?: string }> {
  let length = 0;
  const memory = Buffer.allocUnsafeSlow(readAtOnce);
  try {
    for (;;) {
      const bytes = await file.read(length, readAtOnce, memory);
      if (bytes.length === 0) return { length };
      const begin = length;
      for (const frame of readFrames(bytes)) {
        checkIntact(frame);
        addFrame(frame, digests);
        length = begin + frame.end;
      }
    }
  } catch (error) {
    return { length, why: error instanceof Error ? error.message : String(error) };
  }
}

function addFrame({ commandId, stream, data }: Frame, digests: Map<string, RunningDigest>): void {
  for (const key of [allOf(stream), streamKey({ commandId, stream })]) {
    const digest = digests.get(key) ?? new RunningDigest();
    digest.add(data);
    digests.set(key, digest);
  }
}

function keyOf(stream: CapturedStream, commandId?: string): string {
  const number = streamNumbers[stream];
  return commandId === undefined ? allOf(number) : streamKey({ commandId, stream: number });
}

// No key of a command's stream, as that has a space behind the number.
function allOf(stream: number): string {
  return `${stream}`;
}

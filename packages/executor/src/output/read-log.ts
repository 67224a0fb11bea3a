import { stat } from 'node:fs/promises';
import { OutputChunk, OutputStream } from '@csc-fleet/common/messages';
import { type CapturedStream, emptyDigest, RunningDigest, type StreamDigest } from './captured-stream.ts';
import { readFrames } from './frame.ts';
import { LogFile } from './log-file.ts';
import type { OutputLog } from './output-log.ts';

/** A log in a file. */
export interface StoredLog extends OutputLog {
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
    read: (offset, maxBytes) => file.read(offset, maxBytes),
    changed: () => new Promise(() => {}),
    close: () => file.close(),
  };
}

/** What a log holds, as its frames say. */
export interface LogContent {
  /** Bytes, up to the last frame that is whole. */
  readonly length: number;
  /** Of one command's stream, or of all commands where `commandId` is absent. */
  digest(stream: CapturedStream, commandId?: string): StreamDigest;
}

const readAtOnce = 1024 * 1024;

/** Reads through the log of an execution whose process died, perhaps in the middle of a frame. No file: empty. */
export async function readLogContent(path: string): Promise<LogContent> {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  const file = new LogFile(path, size);
  const digests = new Map<string, RunningDigest>();
  try {
    const length = await readThrough(file, digests);
    return { length, digest: (stream, id) => digests.get(keyOf(stream, id))?.digest() ?? emptyDigest };
  } finally {
    await file.close();
  }
}

async function readThrough(file: LogFile, digests: Map<string, RunningDigest>): Promise<number> {
  for (let length = 0; ; ) {
    const bytes = await file.read(length, readAtOnce);
    if (bytes.length === 0) return length;
    for (const { chunk } of readFrames(bytes)) addChunk(OutputChunk.decode(chunk), digests);
    length += bytes.length;
  }
}

function addChunk(chunk: OutputChunk, digests: Map<string, RunningDigest>): void {
  const stream: CapturedStream = chunk.stream === OutputStream.STDERR ? 'stderr' : 'stdout';
  for (const key of [keyOf(stream), keyOf(stream, chunk.commandId)]) {
    const digest = digests.get(key) ?? new RunningDigest();
    digest.add([chunk.data]);
    digests.set(key, digest);
  }
}

function keyOf(stream: CapturedStream, commandId?: string): string {
  return commandId === undefined ? stream : `${stream} ${commandId}`;
}

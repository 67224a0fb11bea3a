import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { OutputEnd, type ReadOutputRequest } from '@csc-fleet/common/messages';
import { encodeFrame, type Frame, readFrames, streamKey } from '@csc-fleet/common/output-log';
import type { LiveExecution } from '../execution/execution.ts';
import type { OutputLog } from './output-log.ts';

/** The fields of RunResponse, of which ReadOutputResponse has the first two. */
export const itemField = { chunk: 1, end: 2, event: 3 } as const;

/** A RunResponse or ReadOutputResponse that holds just this encoded message. */
export function encodeItem(field: number, message: Uint8Array): Uint8Array {
  return new BinaryWriter()
    .uint32((field << 3) | 2)
    .bytes(message)
    .finish();
}

/** An encoded ReadOutputResponse. A RunResponse that holds the same item looks the same on the wire. */
export type EncodedOutput = Uint8Array;

export type OutputRequest = Pick<ReadOutputRequest, 'from' | 'follow'>;

/**
 * The output of an execution from an offset in each stream: whole frames as they lie on disk, and each stream's end
 * once all of it was given. With `follow` it goes on until the execution has ended; it stops where `abort` fires.
 */
export async function* readOutput(
  log: OutputLog,
  execution: LiveExecution,
  request: OutputRequest,
  abort?: AbortSignal,
): AsyncGenerator<EncodedOutput> {
  const reader = new StreamReader(execution, request.from);
  for (let position = await log.positionFor(reader.from); ; ) {
    // Asked before the log is read, so that what came with the end is still read.
    const seen = execution.events.length;
    const isOver = execution.finished;
    for await (const { bytes } of log.read(position)) {
      yield* reader.items(bytes);
      position += bytes.length;
      if (abort?.aborted === true) return;
    }
    yield* reader.ends();
    if (!request.follow || abort?.aborted === true) return;
    // It may have been LOST for a moment only.
    if (isOver && seen === execution.events.length) return;
    if (log.length === position && !execution.finished) await log.grown(abort);
  }
}

class StreamReader {
  readonly #execution: LiveExecution;
  /** Where each stream goes on. */
  readonly #next = new Map<string, number>();
  readonly #ended = new Set<string>();

  constructor(execution: LiveExecution, from: ReadOutputRequest['from']) {
    this.#execution = execution;
    for (const position of from) this.#next.set(streamKey(position), position.offset);
  }

  /** Where each stream goes on. */
  get from(): ReadonlyMap<string, number> {
    return this.#next;
  }

  *items(bytes: Uint8Array): Generator<EncodedOutput> {
    for (const frame of readFrames(bytes)) {
      const key = streamKey(frame);
      const next = this.#next.get(key) ?? 0;
      const end = frame.offset + frame.data.length;
      if (end <= next) continue;
      this.#next.set(key, end);
      yield frame.offset >= next ? bytes.subarray(frame.begin, frame.end) : encodeRest(frame, next);
    }
  }

  /** The ends of streams of which everything was given. */
  *ends(): Generator<EncodedOutput> {
    for (const { event } of this.#execution.events) {
      if (event?.$case !== 'commandExited') continue;
      for (const end of event.value.result?.outputs ?? []) {
        const key = streamKey(end);
        if (this.#ended.has(key) || (this.#next.get(key) ?? 0) < end.length) continue;
        this.#ended.add(key);
        yield encodeItem(itemField.end, OutputEnd.encode(end).finish());
      }
    }
  }
}

function encodeRest(frame: Frame, from: number): EncodedOutput {
  return encodeFrame({ ...frame, offset: from }, frame.data.subarray(from - frame.offset));
}

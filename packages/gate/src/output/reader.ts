import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import { OutputEnd, OutputStream, type ReadOutputRequest } from '@csc-fleet/common/messages';
import { encodeFrame, type Frame, readFrames, streamKey, streamOfKey } from '@csc-fleet/common/output-log';
import type { LiveExecution } from '../execution/execution.ts';
import type { OutputLog, Wanted } from './output-log.ts';

/** The fields of RunResponse, of which ReadOutputResponse has the first two. */
export const itemField = { chunk: 1, end: 2, event: 3, proof: 20 } as const;

/** A RunResponse or ReadOutputResponse that holds just this encoded message. */
export function encodeItem(field: number, message: Uint8Array): Uint8Array {
  return new BinaryWriter()
    .uint32((field << 3) | 2)
    .bytes(message)
    .finish();
}

/** An encoded ReadOutputResponse. A RunResponse that holds the same item looks the same on the wire. */
export type EncodedOutput = Uint8Array;

/** What is wanted of an output, as ReadOutputRequest has it. */
export type OutputRequest = Pick<ReadOutputRequest, 'from' | 'follow' | 'offset' | 'stream'> & {
  /** As in Wanted. Absent: 0. */
  readonly sinceNs?: number;
  /** All of it must be here, as its receipt is. Absent: it may still come. */
  readonly complete?: boolean;
};

/**
 * The output of an execution as far as it is wanted: whole frames as they lie on disk, and each stream's end once its last
 * byte was given or passed. With `follow` it goes on until the execution has ended; it stops where `abort` fires.
 * Throws OUTPUT_TRIMMED where it is forgotten meanwhile, and at the end of what should be complete and is not.
 */
export async function* readOutput(
  log: OutputLog,
  execution: LiveExecution,
  request: OutputRequest,
  abort?: AbortSignal,
): AsyncGenerator<EncodedOutput> {
  const reader = new StreamReader(execution, request);
  using _ = request.follow ? log.follow() : undefined;
  const begin = await log.positionFor(reader);
  reader.skip(begin.next);
  for (let position = begin.position; ; ) {
    // Asked before the log is read, so that what came with the end is still read.
    const seen = execution.events.length;
    const isOver = execution.finished;
    for await (const { bytes } of log.read(position)) {
      yield* reader.items(bytes);
      position += bytes.length;
      if (abort?.aborted === true) return;
    }
    yield* reader.ends();
    if (request.complete === true) reader.checkComplete();
    if (!request.follow || abort?.aborted === true) return;
    // It may have been LOST for a moment only.
    if (isOver && seen === execution.events.length) return;
    // It may be shorter than what was read: a receipt that vouches for less than its host has sent has it cut off.
    if (log.length <= position && !execution.finished) await log.grown(abort);
  }
}

const streamNames: Readonly<Record<number, string>> = {
  [OutputStream.STDOUT]: 'stdout',
  [OutputStream.STDERR]: 'stderr',
  [OutputStream.TERMINAL]: 'the terminal',
};

class StreamReader implements Wanted {
  readonly sinceNs: number;
  readonly #execution: LiveExecution;
  readonly #offset: number;
  readonly #stream: number | undefined;
  /** Where each stream goes on. */
  readonly #next = new Map<string, number>();
  readonly #ended = new Set<string>();

  constructor(execution: LiveExecution, { from, offset = 0, stream, sinceNs = 0 }: OutputRequest) {
    this.#execution = execution;
    this.#offset = offset;
    this.#stream = stream;
    this.sinceNs = sinceNs;
    for (const position of from) this.#next.set(streamKey(position), position.offset);
  }

  from(key: string): number | undefined {
    if (this.#stream !== undefined && this.#stream !== streamOfKey(key)) return undefined;
    return this.#next.get(key) ?? this.#offset;
  }

  /** What lies before the place where reading begins, which may be before what is wanted. */
  skip(next: ReadonlyMap<string, number>): void {
    for (const [key, offset] of next)
      this.#next.set(key, Math.max(offset, this.#next.get(key) ?? this.#offset));
  }

  *items(bytes: Uint8Array): Generator<EncodedOutput> {
    for (const frame of readFrames(bytes)) {
      const key = streamKey(frame);
      const next = this.from(key);
      const end = frame.offset + frame.data.length;
      if (next === undefined || end <= next) continue;
      this.#next.set(key, end);
      if (frame.monotonicNs < this.sinceNs) continue;
      yield frame.offset >= next ? bytes.subarray(frame.begin, frame.end) : encodeRest(frame, next);
    }
  }

  /** Throws OUTPUT_TRIMMED where there was more of a wanted stream than there is. */
  checkComplete(): void {
    for (const end of this.#outputs()) {
      const next = this.from(streamKey(end));
      if (next === undefined || next >= end.length) continue;
      throw new CscError(
        'OUTPUT_TRIMMED',
        `${streamNames[end.stream]} of ${quoteBriefly(end.commandId)} had ${end.length} bytes, and those from ${next} on are lost: its host has lost them, as with its power or its disk, before they were here`,
      );
    }
  }

  /** The ends of streams of which everything was given. */
  *ends(): Generator<EncodedOutput> {
    for (const end of this.#outputs()) {
      const key = streamKey(end);
      const next = this.from(key);
      if (next === undefined || next < end.length || this.#ended.has(key)) continue;
      this.#ended.add(key);
      yield encodeItem(itemField.end, OutputEnd.encode(end).finish());
    }
  }

  *#outputs(): Generator<OutputEnd> {
    for (const { event } of this.#execution.events)
      if (event?.$case === 'commandExited') yield* event.value.result?.outputs ?? [];
  }
}

function encodeRest(frame: Frame, from: number): EncodedOutput {
  return encodeFrame({ ...frame, offset: from }, frame.data.subarray(from - frame.offset));
}

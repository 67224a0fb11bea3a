import type { CapturedStream } from './captured-stream.ts';

/** The most data that one frame carries, in bytes. */
export const maxFrameData = 64 * 1024;

/** What a frame says of its data. */
export interface FrameHead {
  readonly commandId: string;
  readonly stream: CapturedStream;
  /** Of the first byte, in this command's stream. */
  readonly offset: number;
  readonly monotonicNs: number;
  readonly length: number;
}

// csc.common.v1.OutputStream.
const streamNumbers: Readonly<Record<CapturedStream, number>> = { stdout: 1, stderr: 2 };

/**
 * The bytes that go before a chunk's data in the log: field 1 of ReadOutputResponse (0x0A and a length) and an
 * OutputChunk up to its `data`, in protobuf's wire format. Written by hand, as the data is then never copied.
 */
export function encodeFrameHead(head: FrameHead): Buffer {
  const commandId = Buffer.from(head.commandId, 'utf8');
  const start: number[] = [];
  pushVarint(start, commandId.length, 0x0a);
  const chunk: number[] = [0x10, streamNumbers[head.stream]];
  // proto3 leaves out a zero.
  if (head.offset > 0) pushVarint(chunk, head.offset, 0x18);
  if (head.monotonicNs > 0) pushVarint(chunk, head.monotonicNs, 0x20);
  pushVarint(chunk, head.length, 0x2a);
  const frame: number[] = [];
  const chunkLength = start.length + commandId.length + chunk.length + head.length;
  pushVarint(frame, chunkLength, 0x0a);
  // A command id may be as long as a contract, which is more arguments than a call takes.
  return Buffer.concat([Buffer.from([...frame, ...start]), commandId, Buffer.from(chunk)]);
}

// Not by shifts: they cut at 32 bits, and an offset or a time may have 53.
function pushVarint(bytes: number[], value: number, tag?: number): void {
  if (tag !== undefined) bytes.push(tag);
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
}

/** A frame within a piece of a log. */
export interface Frame {
  /** Where it ends. */
  readonly end: number;
  /** The encoded OutputChunk in it. */
  readonly chunk: Uint8Array;
}

/** The whole frames at the beginning of `bytes`. What follows them is half a frame, or none at all. */
export function* readFrames(bytes: Uint8Array): Generator<Frame> {
  for (let start = 0; ; ) {
    const frame = readFrame(bytes, start);
    if (frame === undefined || frame.end > bytes.length) return;
    yield frame;
    start = frame.end;
  }
}

/** Where the last whole frame of `bytes` ends; 0 where not even the first is whole. */
export function wholeFramesEnd(bytes: Uint8Array): number {
  let end = 0;
  for (const frame of readFrames(bytes)) end = frame.end;
  return end;
}

// Undefined where the head is not all there, or is none: a power cut leaves zeros at the end of a file.
function readFrame(bytes: Uint8Array, start: number): Frame | undefined {
  if (bytes[start] !== 0x0a) return undefined;
  let length = 0;
  for (let at = start + 1, weight = 1; at < bytes.length; at += 1, weight *= 0x80) {
    const byte = bytes[at] ?? 0;
    length += (byte & 0x7f) * weight;
    if (byte < 0x80) return { end: at + 1 + length, chunk: bytes.subarray(at + 1, at + 1 + length) };
  }
  return undefined;
}

import { crc32 } from 'node:zlib';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { toBuffer } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { type OutputChunk, OutputStream } from '../messages/index.ts';

/** What a frame says of its data. */
export interface FrameHead {
  readonly commandId: string;
  /** UNRECOGNIZED for a number that is none of them. */
  readonly stream: OutputStream;
  /** Of the first byte, in this command's stream. */
  readonly offset: number;
  /** Since the executor began with the execution. */
  readonly monotonicNs: number;
}

/** A piece of a command's output, as it lies in a log; the data is a view, not a copy. */
export interface Frame extends FrameHead {
  readonly data: Uint8Array;
  /** Of the data, as whoever wrote it had it. Absent: that was an older version. */
  readonly crc32?: number;
  /** Where the frame begins and ends in the bytes it was read from. */
  readonly begin: number;
  readonly end: number;
}

/** The most data that one frame carries, in bytes. */
export const maxFrameData = 64 * 1024;

/** What of a log is read and sent at once, in bytes: four full frames, whose heads are seldom longer than this. */
export const logPieceBytes = 4 * (maxFrameData + 128);

/** The longest frame: its data, its head, and a command id of any length that a contract can hold. */
export const maxFrameBytes = 2 * 1024 * 1024;

/** What every frame begins with: field 1 of ReadOutputResponse, and of RunResponse. */
export const frameTag = 0x0a;

// By their numbers; what a newer version might add is none of them.
const streams: readonly OutputStream[] = [
  OutputStream.UNSPECIFIED,
  OutputStream.STDOUT,
  OutputStream.STDERR,
  OutputStream.TERMINAL,
  OutputStream.RECORDING,
];

// The fields of csc.common.v1.OutputChunk, as tags: number and wire type.
const field = {
  commandId: 0x0a,
  stream: 0x10,
  offset: 0x18,
  monotonicNs: 0x20,
  data: 0x2a,
  crc32: 0x35,
} as const;

/**
 * The bytes that go before a frame's data: 0x0A, a varint length and an OutputChunk up to its `data`, in protobuf's
 * wire format, so that a frame is a ReadOutputResponse of one chunk. Written by hand, as the data is then never copied.
 * @param data all of it, in pieces
 */
export function encodeFrameHead(head: FrameHead, data: readonly Uint8Array[]): Buffer {
  const length = data.reduce((sum, piece) => sum + piece.length, 0);
  const commandId = Buffer.from(head.commandId, 'utf8');
  const start: number[] = [];
  pushVarint(start, commandId.length, field.commandId);
  const rest: number[] = [field.stream, head.stream];
  // proto3 leaves out a zero.
  if (head.offset > 0) pushVarint(rest, head.offset, field.offset);
  if (head.monotonicNs > 0) pushVarint(rest, head.monotonicNs, field.monotonicNs);
  const sum = data.reduce((value, piece) => crc32(piece, value), 0);
  rest.push(field.crc32, sum & 0xff, (sum >>> 8) & 0xff, (sum >>> 16) & 0xff, sum >>> 24);
  pushVarint(rest, length, field.data);
  const frame: number[] = [];
  pushVarint(frame, start.length + commandId.length + rest.length + length, frameTag);
  // A command id may be as long as a contract, which is more arguments than a call takes.
  return Buffer.concat([Buffer.from([...frame, ...start]), commandId, Buffer.from(rest)]);
}

/** A whole frame. */
export function encodeFrame(head: FrameHead, data: Uint8Array): Buffer {
  return Buffer.concat([encodeFrameHead(head, [data]), data]);
}

// Not by shifts: they cut at 32 bits, and an offset or a time may have 53.
function pushVarint(bytes: number[], value: number, tag: number): void {
  bytes.push(tag);
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
}

/**
 * The frames of a piece of a log. Stops before a frame that is not whole; throws INTERNAL for bytes that are no frame.
 * Read by hand, as ts-proto's decoder copies the data.
 */
export function* readFrames(bytes: Uint8Array): Generator<Frame> {
  for (let begin = 0; ; ) {
    const place = placeFrame(bytes, begin);
    if (place === undefined) return;
    if (typeof place === 'string') throw malformed(place);
    const { chunk, end } = place;
    yield { ...readChunk(bytes.subarray(chunk, end)), begin, end };
    begin = end;
  }
}

/**
 * Throws INTERNAL where the data is other than what was written. A file that was cut in the middle of a frame, and goes on
 * with what the disk held before, still has the frame's length.
 */
export function checkIntact({ data, crc32: expected }: Frame): void {
  if (expected !== undefined && crc32(data) !== expected) throw malformed('its data is not what was written');
}

/**
 * The chunk of a ReadOutputResponse or RunResponse that is just that; undefined for any other. Its data is a view of the
 * message, which the generated decoder copies.
 */
export function chunkOf(bytes: Buffer): OutputChunk | undefined {
  if (bytes[0] !== frameTag) return undefined;
  try {
    for (const { data, begin: _, end, ...head } of readFrames(bytes)) {
      if (end !== bytes.length) return undefined;
      return { ...head, data: toBuffer(data) };
    }
  } catch {
    // Of a newer gate, with members that frames do not have yet.
  }
  return undefined;
}

/**
 * Where the last whole frame of `bytes` ends; 0 where not even the first is whole. Also ends before what is no frame:
 * a power cut leaves zeros at the end of a file. What the frames hold is not looked at.
 */
export function wholeFramesEnd(bytes: Uint8Array): number {
  for (let begin = 0; ; ) {
    const place = placeFrame(bytes, begin);
    if (place === undefined || typeof place === 'string') return begin;
    begin = place.end;
  }
}

/** Undefined where the frame is not all there; a text that says why where it is none. */
function placeFrame(bytes: Uint8Array, begin: number): { chunk: number; end: number } | string | undefined {
  if (begin >= bytes.length) return undefined;
  if (bytes[begin] !== frameTag) return 'it does not begin with 0x0A';
  let length = 0;
  for (let at = begin + 1, weight = 1; at < bytes.length; at++, weight *= 0x80) {
    const byte = bytes[at] ?? 0;
    length += (byte & 0x7f) * weight;
    // A longer one would fit into no reader's buffer.
    if (at + 1 + length - begin > maxFrameBytes) return 'it is too long';
    if (byte < 0x80)
      return at + 1 + length > bytes.length ? undefined : { chunk: at + 1, end: at + 1 + length };
    if (at - begin === 5) return 'its length is too long';
  }
  return undefined;
}

function readChunk(bytes: Uint8Array): Omit<Frame, 'begin' | 'end'> {
  let stream: OutputStream = OutputStream.UNSPECIFIED;
  let data: Uint8Array = new Uint8Array();
  const head: { commandId: string; offset: number; monotonicNs: number; crc32?: number } = {
    commandId: '',
    offset: 0,
    monotonicNs: 0,
  };
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      if (tag === field.commandId) head.commandId = reader.string();
      else if (tag === field.stream) stream = streams[reader.int32()] ?? OutputStream.UNRECOGNIZED;
      else if (tag === field.offset) head.offset = Number(reader.int64());
      else if (tag === field.monotonicNs) head.monotonicNs = Number(reader.int64());
      else if (tag === field.crc32) head.crc32 = reader.fixed32();
      else if (tag === field.data) data = reader.bytes();
      else throw malformed(`it has an unknown field (${tag >> 3})`);
    }
  } catch (cause) {
    throw cause instanceof CscError ? cause : malformed('it cannot be decoded', cause);
  }
  if (data.length > maxFrameData) throw malformed('it has too much data');
  return { ...head, stream, data };
}

function malformed(why: string, cause?: unknown): CscError {
  return new CscError('INTERNAL', `a frame of an output log is malformed: ${why}`, { cause });
}

import { BinaryReader } from '@bufbuild/protobuf/wire';
import { CscError } from '@csc-fleet/common/errors';

/** What one frame of an output log says of its data; the data itself is a view, not a copy. */
export interface Frame {
  readonly commandId: string;
  /** A value of csc.common.v1.OutputStream. */
  readonly stream: number;
  /** Of the first byte, in this command's stream. */
  readonly offset: number;
  readonly monotonicNs: number;
  readonly data: Uint8Array;
  /** Where the frame begins and ends in the bytes it was read from. */
  readonly begin: number;
  readonly end: number;
}

/** The most data that one frame may carry, in bytes. */
export const maxFrameData = 64 * 1024;

/** The longest frame: its data, its head, and a command id of any length that a contract can hold. */
export const maxFrameBytes = 2 * 1024 * 1024;

const frameTag = 0x0a;

/**
 * The frames of a piece of an output log: 0x0A, a varint length, an OutputChunk, which is how a ReadOutputResponse
 * that holds one chunk looks on the wire. Written by hand, as ts-proto's decoder copies the data. Stops before a
 * frame that is not whole; throws INTERNAL for bytes that are no frame.
 */
export function* readFrames(bytes: Uint8Array): Generator<Frame> {
  let begin = 0;
  while (begin < bytes.length) {
    if (bytes[begin] !== frameTag) throw malformed('it does not begin with 0x0A');
    const size = readVarint(bytes, begin + 1);
    if (size === undefined) return;
    const end = size.end + size.value;
    // A longer one would fit into no reader's buffer.
    if (end - begin > maxFrameBytes) throw malformed('it is too long');
    if (end > bytes.length) return;
    yield { ...readChunk(bytes.subarray(size.end, end)), begin, end };
    begin = end;
  }
}

function readVarint(bytes: Uint8Array, start: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let at = start, weight = 1; at < bytes.length && at < start + 5; at++, weight *= 0x80) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * weight;
    if (byte < 0x80) return { value, end: at + 1 };
  }
  if (bytes.length >= start + 5) throw malformed('its length is too long');
  return undefined;
}

// The fields of csc.common.v1.OutputChunk.
function readChunk(bytes: Uint8Array): Omit<Frame, 'begin' | 'end'> {
  const chunk = { commandId: '', stream: 0, offset: 0, monotonicNs: 0, data: new Uint8Array() as Uint8Array };
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      if (tag === 0x0a) chunk.commandId = reader.string();
      else if (tag === 0x10) chunk.stream = reader.int32();
      else if (tag === 0x18) chunk.offset = Number(reader.int64());
      else if (tag === 0x20) chunk.monotonicNs = Number(reader.int64());
      else if (tag === 0x2a) chunk.data = reader.bytes();
      else throw malformed(`it has an unknown field (${tag >> 3})`);
    }
  } catch (cause) {
    throw cause instanceof CscError ? cause : malformed('it cannot be decoded', cause);
  }
  if (chunk.data.length > maxFrameData) throw malformed('it has too much data');
  return chunk;
}

function malformed(why: string, cause?: unknown): CscError {
  return new CscError('INTERNAL', `a frame of an output log is malformed: ${why}`, { cause });
}

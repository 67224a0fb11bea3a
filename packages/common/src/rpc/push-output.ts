import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import type { PushOutputRequest } from '../gen/csc/link/v1/link.ts';

// The fields of csc.link.v1.PushOutputRequest, as tags: number and wire type.
const tag = { executionId: 0x0a, logOffset: 0x10, frames: 0x1a } as const;

/**
 * Encodes as ts-proto does, with one copy of the frames: its writer grows by doubling, which for a quarter of a
 * mebibyte at a time costs more than all else that is done with output.
 */
export function encodePushOutput({ executionId, logOffset, frames }: PushOutputRequest): Buffer {
  const writer = new BinaryWriter();
  if (executionId !== '') writer.uint32(tag.executionId).string(executionId);
  if (logOffset !== 0) writer.uint32(tag.logOffset).int64(logOffset);
  if (frames.length > 0) writer.uint32(tag.frames).uint32(frames.length);
  return Buffer.concat([writer.finish(), frames]);
}

/** Decodes as ts-proto does, with the frames as a view of the message instead of a copy. */
export function decodePushOutput(message: Buffer): PushOutputRequest {
  const request: PushOutputRequest = { executionId: '', logOffset: 0, frames: Buffer.alloc(0) };
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const at = reader.uint32();
    if (at === tag.executionId) request.executionId = reader.string();
    else if (at === tag.logOffset) request.logOffset = Number(reader.int64());
    else if (at === tag.frames) request.frames = viewOf(reader.bytes());
    else reader.skip(at & 7);
  }
  return request;
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

import { BinaryReader } from '@bufbuild/protobuf/wire';
import { PushOutputRequest } from '@csc-fleet/common/rpc';

/**
 * What PushOutputRequest.decode makes of it, and throws, without its copy of the frames: they are a view of the message, which is
 * nobody else's. A gigabyte of output would be copied, and collected, otherwise.
 */
export function decodePushOutput(bytes: Buffer): PushOutputRequest {
  const place = placeFrames(bytes);
  if (place === undefined) return PushOutputRequest.decode(bytes);
  const head = PushOutputRequest.decode(bytes.subarray(0, place.tag));
  return { ...head, frames: bytes.subarray(place.begin) };
}

const framesTag = 0x1a;

// Only where they are the last member, as everybody sends them.
function placeFrames(bytes: Buffer): { readonly tag: number; readonly begin: number } | undefined {
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const at = reader.pos;
      const tag = reader.uint32();
      if (tag === framesTag) {
        const length = reader.uint32();
        return reader.pos + length === reader.len ? { tag: at, begin: reader.pos } : undefined;
      }
      reader.skip(tag & 7, tag >>> 3);
    }
  } catch {
    // The other decoder says what is wrong.
  }
  return undefined;
}

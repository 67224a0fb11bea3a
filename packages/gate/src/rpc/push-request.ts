import { BinaryReader } from '@bufbuild/protobuf/wire';
import { CscError } from '@csc-fleet/common/errors';
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
// There are three.
const mostFields = 64;
const groupType = 3;

// Only where they are the last member, as everybody sends them. Throws MESSAGE_TOO_LARGE where there are more members than anybody
// sends: of two bytes each, eight mebibytes would take the better part of a second to pass over.
function placeFrames(bytes: Buffer): { readonly tag: number; readonly begin: number } | undefined {
  const reader = new BinaryReader(bytes);
  let place: { readonly tag: number; readonly begin: number } | undefined;
  for (let fields = 0; reader.pos < reader.len; fields += 1) {
    const at = reader.pos;
    const tag = reader.uint32();
    if (fields === mostFields || (tag & 7) === groupType)
      throw new CscError('MESSAGE_TOO_LARGE', 'output came in a message of more members than it has');
    const value = reader.skip(tag & 7, tag >>> 3);
    // Behind its length; of a byte string, whatever is skipped ends with it.
    place = tag === framesTag ? { tag: at, begin: reader.pos - lengthOf(value) } : undefined;
  }
  return place;
}

function lengthOf(delimited: Uint8Array): number {
  return new BinaryReader(delimited).uint32();
}

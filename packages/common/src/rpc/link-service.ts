import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { makeGenericClientConstructor } from '@grpc/grpc-js';
import { toBuffer } from '../encoding/index.ts';
import {
  type ExecutorLinkClient as Client,
  ExecutorLinkService as Generated,
  type PushOutputRequest,
} from '../gen/csc/link/v1/link.ts';
import { withFewFields } from './few-fields.ts';

// An offer with its approvals, and a terminal's frames, have less than a thousand. A Hello names up to 20,000
// executions and 1,000 policies, which a gate answers with up to 256 proofs of 63 hashes.
const most = { few: 8192, many: 64 * 1024 };

const bounded = withFewFields(Generated, {
  requests: most.few,
  responses: most.few,
  of: { connect: { requests: most.many }, proveOwnReceipts: { responses: most.many } },
});

/** csc.link.v1.ExecutorLink, with codecs that copy no more output than they must. */
export const ExecutorLinkService = {
  ...bounded,
  pushOutput: {
    ...bounded.pushOutput,
    requestSerialize: encodePushOutput,
    requestDeserialize: decodePushOutput,
  },
};

type ClientClass = new (
  ...args: ConstructorParameters<ReturnType<typeof makeGenericClientConstructor>>
) => Client;

/** What an executor calls the gate with. */
export const ExecutorLinkClient = makeGenericClientConstructor(
  ExecutorLinkService,
  'csc.link.v1.ExecutorLink',
) as unknown as ClientClass;
export type ExecutorLinkClient = Client;

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
    else if (at === tag.frames) request.frames = toBuffer(reader.bytes());
    else reader.skip(at & 7);
  }
  return request;
}

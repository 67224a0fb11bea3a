import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { makeGenericClientConstructor } from '@grpc/grpc-js';
import { toBuffer } from '../encoding/index.ts';
import {
  type ExecutorLinkClient as Client,
  ConnectResponse,
  ExecutorLinkService as Generated,
  type PushOutputRequest,
} from '../gen/csc/link/v1/link.ts';
import { maxOfferedApprovals } from '../messages/index.ts';

/** csc.link.v1.ExecutorLink, with codecs that copy no more output than they must and unpack no more approvals than count. */
export const ExecutorLinkService = {
  ...Generated,
  connect: { ...Generated.connect, responseDeserialize: decodeConnectResponse },
  pushOutput: {
    ...Generated.pushOutput,
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

// Fields of csc.link.v1, as tags: number and wire type.
const offer = 0x12;
const approvalsJson = 0x22;

/**
 * Decodes as ts-proto does, but for an offer with more approvals than an executor takes: two bytes of a message are an
 * object of a hundred in memory. Throws RangeError, with which the call ends.
 */
function decodeConnectResponse(message: Buffer): ConnectResponse {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === offer) checkOffer(reader.bytes());
    else reader.skip(tag & 7);
  }
  return ConnectResponse.decode(message);
}

function checkOffer(bytes: Uint8Array): void {
  const reader = new BinaryReader(bytes);
  let approvals = 0;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === approvalsJson) approvals += 1;
    if (approvals > maxOfferedApprovals) {
      throw new RangeError(`an offer brings at most ${maxOfferedApprovals} approvals`);
    }
    reader.skip(tag & 7);
  }
}

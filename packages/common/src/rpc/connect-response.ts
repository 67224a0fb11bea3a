import { BinaryReader } from '@bufbuild/protobuf/wire';
import { ConnectResponse } from '../gen/csc/link/v1/link.ts';
import { maxOfferedApprovals } from '../messages/offer.ts';

// Fields of csc.link.v1, as tags: number and wire type.
const offer = 0x12;
const approvalsJson = 0x22;

/**
 * Decodes as ts-proto does, but for an offer with more approvals than an executor takes: two bytes of a message are an
 * object of a hundred in memory. Throws RangeError, with which the call ends.
 */
export function decodeConnectResponse(message: Buffer): ConnectResponse {
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

import { makeGenericClientConstructor } from '@grpc/grpc-js';
import {
  type ExecutorLinkClient as Client,
  ExecutorLinkService as Generated,
} from '../gen/csc/link/v1/link.ts';
import { decodeConnectResponse } from './connect-response.ts';
import { decodePushOutput, encodePushOutput } from './push-output.ts';

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

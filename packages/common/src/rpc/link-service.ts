import { makeGenericClientConstructor } from '@grpc/grpc-js';
import {
  type ExecutorLinkClient as Client,
  ExecutorLinkService as Generated,
} from '../gen/csc/link/v1/link.ts';
import { decodePushOutput, encodePushOutput } from './push-output.ts';

/** csc.link.v1.ExecutorLink, with a codec for output that does not copy more than it must. */
export const ExecutorLinkService = {
  ...Generated,
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

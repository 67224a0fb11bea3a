import type { ConnectRequest, ConnectResponse } from '@csc-fleet/common/rpc';
import type { ClientDuplexStream } from '@grpc/grpc-js';

/** The stream that an executor and its gate talk over. */
export type LinkCall = ClientDuplexStream<ConnectRequest, ConnectResponse>;

// Messages that may wait in the transport; more of them wait in the outbox, which has bounds.
const mostWaiting = 4;

/**
 * Writes messages to the gate; gives false where no more should come until one is taken.
 * @param onTaken called whenever the transport has taken one; not of those that a call breaks under
 */
export function createLinkWriter(call: LinkCall, onTaken: () => void): (message: ConnectRequest) => boolean {
  return (message) => {
    call.write(message, (error?: Error | null) => {
      // Of a call that broke nothing was taken: what would come next then would be lost with it.
      if (!error) onTaken();
    });
    return call.writableLength < mostWaiting;
  };
}

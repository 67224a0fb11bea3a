import {
  ConnectRequest,
  type ConnectResponse,
  createWayPast,
  encoderOf,
  type Wire,
  wireOfClientCall,
} from '@csc-fleet/common/rpc';
import type { ClientDuplexStream } from '@grpc/grpc-js';

/** The stream that an executor and its gate talk over. */
export type LinkCall = ClientDuplexStream<ConnectRequest, ConnectResponse>;

// Messages that may wait in the transport; more of them wait in the outbox, which has bounds.
const mostWaiting = 4;

const encode = encoderOf(ConnectRequest);

/**
 * Writes messages to the gate; gives false where no more should come until one is taken. What is said in one turn of the event loop
 * is one write and one piece on the wire, and so wakes the gate once: grpc-js makes one of each.
 * @param onTaken called whenever the transport has taken one; not of those that a call breaks under
 * @param findWire where messages may be written past grpc-js; undefined: nowhere, as before the gate has answered
 */
export function createLinkWriter(
  call: LinkCall,
  onTaken: () => void,
  findWire: (call: LinkCall) => Wire | undefined = wireOfClientCall,
): (message: ConnectRequest) => boolean {
  let waiting = 0;
  const hasRoom = (): boolean => call.writableLength + waiting < mostWaiting;
  const past = createWayPast(call, () => findWire(call));
  return (message) => {
    const wire = past.find();
    if (wire === undefined) {
      call.write(message, (error?: Error | null) => {
        if (!error) onTaken();
      });
      return hasRoom();
    }
    const bytes = encode(message);
    waiting += 1;
    past.write(wire, bytes, (error) => {
      waiting -= 1;
      // Of a call that broke nothing was taken: what would come next then would be lost with it.
      if (!error && !wire.destroyed) onTaken();
    });
    return hasRoom();
  };
}

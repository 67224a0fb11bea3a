import { messagePrefixBytes, type Wire, wireOfServerCall, writeMessagePrefix } from '@csc-fleet/common/rpc';

/** How whole messages of a call are written past grpc-js, which copies each and makes a write of it. */
export interface WayPast {
  /** Where that is possible now; undefined: the call's own way, as what grpc-js still has goes out first. */
  find(): Wire | undefined;
  /**
   * What is written in one turn of the event loop is one write, one piece on the wire, and wakes whoever reads it once.
   * @param wire what `find` has just given
   * @param done called once the transport has it, or with why it has not
   */
  write(wire: Wire, message: Uint8Array, done: (error?: Error | null) => void): void;
}

/** @param call a stream of grpc-js's server, which has a wire once it is open */
export function createWayPast(call: { readonly writableLength: number }): WayPast {
  let found: Wire | undefined;
  let isCorked = false;
  return {
    find() {
      if (call.writableLength > 0) return undefined;
      found ??= wireOfServerCall(call);
      return found?.destroyed === false && !found.writableEnded ? found : undefined;
    },
    write(wire, message, done) {
      if (!isCorked) {
        isCorked = true;
        wire.cork();
        process.nextTick(() => {
          isCorked = false;
          wire.uncork();
        });
      }
      const prefix = Buffer.allocUnsafe(messagePrefixBytes);
      writeMessagePrefix(prefix, message.length);
      wire.write(prefix);
      wire.write(message, done);
    },
  };
}

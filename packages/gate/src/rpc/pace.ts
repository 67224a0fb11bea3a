import type { ConnectRequest } from '@csc-fleet/common/rpc';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { TokenBucket } from '../traffic/token-bucket.ts';

// Far more than a host says that starts and ends a hundred commands a second.
const messages = { perSec: 1_000, burst: 1_000 };
// A receipt is parsed and its signature verified, which takes the longer the longer it is.
const bytesPerMessage = 4 * 1024;

/**
 * Reads an executor's messages no faster than an honest one sends them: what comes faster waits in the transport's
 * window and then at the executor. Nothing is lost by it, other than by refusing.
 * @returns to be called with every message that was read
 */
export function pace(call: ServerDuplexStream<ConnectRequest, unknown>): (message: ConnectRequest) => void {
  const bucket = new TokenBucket(messages.perSec, messages.burst, performance.now());
  return ({ message }) => {
    const bytes =
      message?.$case === 'receipt' || message?.$case === 'refused' ? message.value.receiptJson.length : 0;
    bucket.spend(1 + bytes / bytesPerMessage);
    const waitMs = bucket.waitMs(performance.now());
    if (waitMs === 0) return;
    call.pause();
    setTimeout(() => call.resume(), waitMs).unref();
  };
}

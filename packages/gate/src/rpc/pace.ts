import type { ServerDuplexStream } from '@grpc/grpc-js';
import { TokenBucket } from '../traffic/token-bucket.ts';

// Far more than a host says that starts and ends a hundred commands a second.
const messages = { perSec: 1_000, burst: 1_000 };
// A receipt is parsed and its signature verified, which takes the longer the longer it is.
const bytesPerMessage = 4 * 1024;

/**
 * Reads a caller's messages no faster than an honest executor sends them: what comes faster waits in the transport's
 * window and then at the executor, and nothing is lost.
 * @returns to be called with the length of every message that was read, in bytes
 */
export function pace<Request, Response>(
  call: ServerDuplexStream<Request, Response>,
): (bytes: number) => void {
  const bucket = new TokenBucket(messages.perSec, messages.burst, performance.now());
  return (bytes) => {
    bucket.spend(1 + bytes / bytesPerMessage);
    const waitMs = bucket.waitMs(performance.now());
    if (waitMs === 0) return;
    call.pause();
    setTimeout(() => call.resume(), waitMs).unref();
  };
}

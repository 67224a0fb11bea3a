import { TokenBucket } from '../traffic/token-bucket.ts';
import type { Reading } from './reading.ts';

// Far more than a host says that starts and ends a hundred commands a second.
const messages = { perSec: 1_000, burst: 1_000 };
// A receipt is parsed and its signature verified, which takes the longer the longer it is.
const bytesPerMessage = 4 * 1024;

/** Milliseconds to wait before the next message is read, once one of so many bytes was. */
export function createPace(): (bytes: number) => number {
  const bucket = new TokenBucket(messages.perSec, messages.burst, performance.now());
  return (bytes) => {
    bucket.spend(1 + bytes / bytesPerMessage);
    return bucket.waitMs(performance.now());
  };
}

/**
 * Reads a caller's messages no faster than an honest executor sends them: what comes faster waits in the transport's
 * window and then at the executor, and nothing is lost.
 * @returns to be called with the length of every message that was read, in bytes
 */
export function pace(reading: Reading): (bytes: number) => void {
  const next = createPace();
  return (bytes) => {
    const waitMs = next(bytes);
    if (waitMs > 0) setTimeout(reading.hold(), waitMs).unref();
  };
}

import { TokenBucket } from '@csc-fleet/common/doorway';
import type { ServerDuplexStream } from '@grpc/grpc-js';

/** Of a stream, what reading it takes. */
interface Pausable {
  pause(): unknown;
  resume(): unknown;
}

/** Reads a call only while nobody holds that back: several may, each for a reason of its own. */
export class Reading {
  readonly #call: Pausable;
  #holders = 0;

  constructor(call: Pausable) {
    this.#call = call;
  }

  /** Reads no further until what this returns is called; once, what comes after does nothing. */
  hold(): () => void {
    if (this.#holders === 0) this.#call.pause();
    this.#holders += 1;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#holders -= 1;
      if (this.#holders === 0) this.#call.resume();
    };
  }
}

/**
 * Reads no further while answers wait for a caller that does not read them (16, grpc-js's mark): they would pile up in
 * memory for as long as it goes on asking. Call it before the listener that answers.
 */
export function readAsAnswered<Request, Response>(
  call: ServerDuplexStream<Request, Response>,
  reading = new Reading(call),
): void {
  let release: (() => void) | undefined;
  call.on('data', () => {
    // Behind the listener that answers.
    queueMicrotask(() => {
      if (call.writableNeedDrain) release ??= reading.hold();
    });
  });
  call.on('drain', () => {
    release?.();
    release = undefined;
  });
}

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

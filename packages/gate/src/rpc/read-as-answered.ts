import type { ServerDuplexStream } from '@grpc/grpc-js';
import { Reading } from './reading.ts';

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

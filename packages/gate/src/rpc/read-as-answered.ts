import type { ServerDuplexStream } from '@grpc/grpc-js';

/**
 * Reads no further while answers wait for a caller that does not read them (16, grpc-js's mark): they would pile up in
 * memory for as long as it goes on asking. Call it before the listener that answers.
 */
export function readAsAnswered<Request, Response>(call: ServerDuplexStream<Request, Response>): void {
  call.on('data', () => {
    // Behind the listener that answers.
    queueMicrotask(() => {
      if (call.writableNeedDrain) call.pause();
    });
  });
  call.on('drain', () => call.resume());
}

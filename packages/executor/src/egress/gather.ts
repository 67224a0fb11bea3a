import type { Socket } from 'node:net';
import { guarded } from '@csc-fleet/common/errors';

/** What was read off the front of a connection. */
export interface Gathered<T> {
  readonly value: T;
  /** All that came so far, what belongs to `value` included. */
  readonly bytes: Buffer;
}

/**
 * Reads from a connection until `push`, which is given every chunk once, has a value; the connection is paused then.
 * Undefined where it ends before, or after `timeoutMs`. How much may come is for `push` to bound; what it throws is what
 * this rejects with.
 * @param first what was read already
 */
export function gather<T>(
  socket: Socket,
  push: (chunk: Buffer) => T | undefined,
  { timeoutMs, first }: { readonly timeoutMs: number; readonly first?: Buffer },
): Promise<Gathered<T> | undefined> {
  const chunks: Buffer[] = [];
  return new Promise((resolve, reject) => {
    let done = false;
    const finish = (gathered: Gathered<T> | undefined): void => {
      done = true;
      clearTimeout(timer);
      socket.off('data', onData).off('end', onEnd).off('close', onEnd).pause();
      resolve(gathered);
    };
    const take = (chunk: Buffer): void => {
      chunks.push(chunk);
      const value = push(chunk);
      if (value !== undefined) finish({ value, bytes: Buffer.concat(chunks) });
    };
    const onData = guarded(take, (error) => {
      reject(error);
      finish(undefined);
    });
    const onEnd = (): void => finish(undefined);
    const timer = setTimeout(onEnd, timeoutMs);
    if (first !== undefined && first.length > 0) onData(first);
    if (done) return;
    if (socket.destroyed || socket.readableEnded) return onEnd();
    socket.on('data', onData).on('end', onEnd).on('close', onEnd).resume();
  });
}

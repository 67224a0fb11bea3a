import type { Socket } from 'node:net';
import { guarded } from '@csc-fleet/common/errors';

/** What was read off the front of a connection. */
interface Gathered<T> {
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

/**
 * Joins two connections: what comes from the one goes to the other, no faster than it takes it, and each direction ends
 * by itself. Where one breaks off, so does the other; with `idleMs` of silence both do.
 * @param first what the client has sent already
 */
export function relay(client: Socket, upstream: Socket, first: Buffer, idleMs: number): void {
  upstream.write(first);
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    from.setTimeout(idleMs, () => {
      // One that only sends, or only receives, is silent on neither side for long.
      from.destroy();
      to.destroy();
    });
    from.once('close', () => closeAfter(from, to));
    from.pipe(to);
  }
  if (client.destroyed) upstream.destroy();
  if (upstream.destroyed) client.destroy();
}

// What was read to its end is delivered to its end.
function closeAfter(closed: Socket, other: Socket): void {
  if (closed.readableEnded) other.destroySoon();
  else other.destroy();
}

/** Open connections. */
export class SocketSet {
  readonly #sockets = new Set<Socket>();
  #closed = false;

  get size(): number {
    return this.#sockets.size;
  }

  /** Keeps a connection for as long as it is open; after `close` that is no time at all. */
  add(socket: Socket): Socket {
    // Nothing else would handle an error that comes when nobody waits for one; `close` always follows.
    socket.on('error', () => undefined);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#closed) socket.destroy();
    return socket;
  }

  /** Breaks all of them off. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#sockets) socket.destroy();
  }
}

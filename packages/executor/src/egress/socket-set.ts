import type { Socket } from 'node:net';

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

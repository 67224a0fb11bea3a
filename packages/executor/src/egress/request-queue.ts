import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

// Pipelined requests wait as parsed objects: of more than these a client has no use.
const longest = 16;

/** The requests of one connection, answered one after the other, and the time that a client may take between them. */
export class RequestQueue {
  readonly #socket: Socket;
  readonly #headerMs: number;
  readonly #onLate: () => void;
  readonly #waiting: { readonly response: ServerResponse; readonly work: () => void }[] = [];
  #busy = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param onLate called where a request was begun and is not whole within `headerMs`; must not throw */
  constructor(socket: Socket, headerMs: number, onLate: () => void) {
    this.#socket = socket;
    this.#headerMs = headerMs;
    this.#onLate = onLate;
    socket.once('close', () => this.leave());
    this.#await(0);
  }

  /**
   * Does the work for one request in its turn; the next one's comes when its response is closed.
   * @param work must not throw
   */
  add(response: ServerResponse, work: () => void): void {
    clearTimeout(this.#timer);
    if (this.#waiting.length >= longest) this.#socket.destroy();
    this.#waiting.push({ response, work });
    if (!this.#busy) this.#next();
  }

  /** The connection is no longer one of requests. False where one of them is not answered yet. */
  leave(): boolean {
    clearTimeout(this.#timer);
    return !this.#busy;
  }

  #next(): void {
    const next = this.#waiting.shift();
    this.#busy = next !== undefined;
    if (next === undefined) this.#await(this.#socket.bytesRead);
    else if (next.response.destroyed || !this.#socket.writable) this.#waiting.length = 0;
    else {
      next.response.once('close', () => this.#next());
      next.work();
    }
  }

  #await(bytesBefore: number): void {
    if (this.#socket.destroyed) return;
    this.#timer = setTimeout(() => {
      if (this.#socket.bytesRead > bytesBefore) this.#onLate();
      else this.#socket.destroy();
    }, this.#headerMs);
  }
}

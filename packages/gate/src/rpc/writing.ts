import { createWayPast } from './way-past.ts';

/** Of a call, what writing to it takes. */
export interface Writable {
  readonly writableNeedDrain: boolean;
  /** Messages that it has not handed on to the transport. */
  readonly writableLength: number;
  write(message: unknown, done: () => void): boolean;
  on(event: 'drain', listener: () => void): unknown;
  off(event: 'drain', listener: () => void): unknown;
}

/**
 * What may wait in memory for one reader, in bytes, once the message before it was taken: what is not written yet lies on
 * disk, where each reader has a position of its own. As much as the network has under way comes beside it (streamWindow),
 * and that is the reader's memory, or the kernel's.
 */
export const readerWindow = 256 * 1024;

/** Bytes of answers that wait in this process for those who asked for them. */
export class Unread {
  #bytes = 0;
  #most = 0;

  /** Of all readers together, now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The most that there ever were. */
  get most(): number {
    return this.#most;
  }

  /** @param bytes negative for what is taken */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#most = Math.max(this.#most, this.#bytes);
  }
}

/**
 * Writes the messages of one call: resolves when the next may come. Who does not read holds one window, however much there
 * is to read, and nobody else up.
 */
export function createWrite<Message>(
  wire: Writable,
  gone: AbortSignal,
  unread: Unread,
): (message: Message) => Promise<void> {
  let held = 0;
  const waiting = new Set<() => void>();
  const isRoom = (): boolean => gone.aborted || (held < readerWindow && !wire.writableNeedDrain);
  const look = (): void => {
    if (!isRoom()) return;
    for (const resolve of waiting) resolve();
    waiting.clear();
  };
  // What was not taken by then never is, or nobody counts it.
  const leave = (): void => {
    unread.add(-held);
    held = 0;
    wire.off('drain', look);
    look();
  };
  const taken = (bytes: number): void => {
    if (gone.aborted) return;
    held -= bytes;
    unread.add(-bytes);
    look();
  };
  const past = createWayPast(wire);
  wire.on('drain', look);
  gone.addEventListener('abort', leave, { once: true });
  return (message) => {
    if (gone.aborted) return Promise.resolve();
    // Of output alone: what else there is is small, or is kept while the execution is open.
    const bytes = message instanceof Uint8Array ? message.length : 0;
    held += bytes;
    unread.add(bytes);
    const found = message instanceof Uint8Array ? past.find() : undefined;
    if (found === undefined || !(message instanceof Uint8Array)) wire.write(message, () => taken(bytes));
    else past.write(found, message, () => taken(bytes));
    return isRoom() ? Promise.resolve() : new Promise((resolve) => waiting.add(resolve));
  };
}

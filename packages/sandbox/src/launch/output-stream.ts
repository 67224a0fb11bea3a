import { Socket } from 'node:net';
import type { OutputReadable } from './launcher.ts';
import { Slabs } from './slabs.ts';

/** What those who launch a command do with what it writes. */
export interface CommandOutput extends OutputReadable {
  /** What comes while it is muted is not the command's: it is in `head` alone. */
  mute(isMuted: boolean): void;
  /** The beginning of what came, as text. */
  readonly head: string;
  /** Ends it although some process may still hold the other end: all of the command's own are gone. */
  settle(): void;
}

/** How much of a stream's beginning is kept, for reading bwrap's own error messages. */
const headBytes = 4096;

// How long a stream may stay silent after its writers are gone, in milliseconds.
const settleMs = 500;

// What a pipe can hold (/proc/sys/fs/pipe-max-size is 1 MiB for all but root).
const maxPipeBytes = 1024 * 1024;

/**
 * What comes out of a FIFO: raw chunks of at most 256 KiB, read only as fast as they are taken, so that a slow reader
 * slows the command rather than filling memory. It is a socket because only those are polled by Node; a blocking read
 * would keep one of its four threads.
 */
export class OutputStream extends Socket implements CommandOutput {
  readonly #slabs: Slabs;
  #head: Buffer[] = [];
  #headLength = 0;
  #received = 0;
  #room = Number.POSITIVE_INFINITY;
  #over = false;
  #isMuted = false;

  /** @param fd a FIFO's read end, which this stream closes */
  constructor(fd: number) {
    const slabs = new Slabs();
    const onread = {
      buffer: () => slabs.room(),
      callback: (length: number) => this.#receive(slabs.take(length)),
    };
    // One chunk waits, and no second: whoever iterates over a stream is given all that waits in it at once, copied into memory
    // that is nobody's to use again. Meanwhile the pipe fills, and the next read takes more.
    // Not in the types of a socket's options, which are those of streams, too.
    const own = { readableHighWaterMark: 1 };
    super({ fd, readable: true, writable: false, ...own, onread });
    this.#slabs = slabs;
  }

  recycle(chunk: Buffer): void {
    this.#slabs.giveBack(chunk);
  }

  /** What comes while it is muted is not the command's: it is in `head` alone. */
  mute(isMuted: boolean): void {
    this.#isMuted = isMuted;
  }

  /** The beginning of what came, as text. */
  get head(): string {
    return Buffer.concat(this.#head).toString('utf8');
  }

  /**
   * Ends the stream although some process may still hold the other end: all of the command's own are gone, but they can
   * have handed it to another one over a socket (unix(7), SCM_RIGHTS). What was written by then is still read.
   */
  settle(): void {
    this.#room = maxPipeBytes;
    let seen = -1;
    const timer = setInterval(() => {
      if (this.#over || this.readableEnded || this.destroyed) clearInterval(timer);
      else if (this.#received === seen && this.readableLength === 0) this.#finish();
      seen = this.#received;
    }, settleMs);
    timer.unref();
  }

  #receive(chunk: Buffer): boolean {
    if (this.#over) return false;
    this.#received += chunk.length;
    this.#room -= chunk.length;
    this.#keepHead(chunk);
    if (this.#isMuted) {
      this.recycle(chunk);
      return true;
    }
    return this.#room < 0 ? this.#finish() : this.push(chunk);
  }

  #keepHead(chunk: Buffer): void {
    if (this.#headLength >= headBytes) return;
    const kept = Buffer.from(chunk.subarray(0, headBytes - this.#headLength));
    this.#head.push(kept);
    this.#headLength += kept.length;
  }

  #finish(): false {
    this.#over = true;
    this.push(null);
    return false;
  }
}

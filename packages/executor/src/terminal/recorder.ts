import { PassThrough, type Readable } from 'node:stream';
import { AsciicastWriter } from '@csc-fleet/common/terminal';
import type { Size } from './open-terminal.ts';

export interface RecorderOptions {
  readonly size: Size;
  /** TERM. */
  readonly type: string;
  readonly at: Date;
  /** Of the whole recording. */
  readonly maxBytes: number;
  /** Whether what is typed is in it: by default it is not, as passwords are typed. */
  readonly recordsInput: boolean;
}

// For its last two lines.
const endBytes = 160;
const fullNote = 'the recording is cut here: there was no room for more';

/**
 * Makes the asciicast of a terminal, of bytes that have been through the mask. What is not shown is not in it: a password is
 * typed, and not echoed.
 */
export class Recorder {
  readonly #writer = new AsciicastWriter(() => performance.now());
  readonly #lines = new PassThrough();
  readonly #recordsInput: boolean;
  #room: number;
  #isFull = false;

  constructor({ size, type, at, maxBytes, recordsInput }: RecorderOptions) {
    this.#recordsInput = recordsInput;
    this.#room = maxBytes - endBytes;
    this.#add(this.#writer.header({ ...size, type, at }));
  }

  /** The recording as it grows. It is read as fast as the terminal is, by the same spool. */
  get stream(): Readable {
    return this.#lines;
  }

  /** There was no room for all of it. */
  get isFull(): boolean {
    return this.#isFull;
  }

  shown(bytes: Uint8Array): void {
    this.#add(this.#writer.output(bytes));
  }

  typed(bytes: Uint8Array): void {
    if (this.#recordsInput) this.#add(this.#writer.input(bytes));
  }

  resized({ columns, rows }: Size): void {
    this.#add(this.#writer.resize(columns, rows));
  }

  /** Nothing comes after it. */
  ended(exitCode: number): void {
    this.#lines.end(this.#writer.exit(exitCode));
  }

  // Whole lines: one that is cut is no event.
  #add(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#isFull || bytes.length === 0) return;
    this.#isFull = bytes.length > this.#room;
    if (this.#isFull) {
      this.#lines.write(this.#writer.marker(fullNote));
      return;
    }
    this.#room -= bytes.length;
    this.#lines.write(bytes);
  }
}

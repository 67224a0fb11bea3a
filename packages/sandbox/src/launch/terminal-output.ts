import { Transform, type TransformCallback } from 'node:stream';
import type { OutputReadable, TerminalEnds } from './launcher.ts';
import type { CommandOutput } from './output-stream.ts';

const headBytes = 4096;

/** What a terminal shows, as `OutputStream` has what comes out of a pipe: bwrap, too, has nothing else to complain on. */
export class TerminalOutput extends Transform implements OutputReadable, CommandOutput {
  readonly #ends: TerminalEnds;
  #head = '';
  #isMuted = false;

  constructor(ends: TerminalEnds) {
    super();
    this.#ends = ends;
    ends.output.once('error', () => this.end());
    ends.output.pipe(this);
  }

  // Its chunks are nobody else's.
  recycle(): void {}

  mute(isMuted: boolean): void {
    this.#isMuted = isMuted;
  }

  get head(): string {
    return this.#head;
  }

  settle(): void {
    this.#ends.hangUp();
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    // One character a byte: it is looked through for a message of bwrap's, whose lines end as a terminal's do.
    if (this.#head.length < headBytes)
      this.#head += chunk.toString('latin1').replaceAll('\r\n', '\n').slice(0, headBytes);
    if (this.#isMuted) done();
    else done(null, chunk);
  }
}

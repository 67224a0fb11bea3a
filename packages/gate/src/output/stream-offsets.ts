import { CscError } from '@csc-fleet/common/errors';
import { OutputStream } from '@csc-fleet/common/messages';
import { type Frame, readFrames } from './frames.ts';

/** Where each stream of a log goes on: what comes next must begin there. */
export class StreamOffsets {
  readonly #next = new Map<string, number>();

  /**
   * Checks whole frames; they count once the function that it gives is called. Throws INTERNAL for a gap, an unknown
   * stream or a malformed frame.
   * @param commandIds those that the contract has; a frame of another is refused
   */
  check(frames: Uint8Array, commandIds: ReadonlySet<string>): () => void {
    const after = new Map<string, number>();
    let end = 0;
    for (const frame of readFrames(frames)) {
      if (!commandIds.has(frame.commandId)) throw refused('a frame is of an unknown command');
      this.#take(frame, after);
      end = frame.end;
    }
    if (end !== frames.length) throw refused('it ends within a frame');
    return () => {
      for (const [key, offset] of after) this.#next.set(key, offset);
    };
  }

  /** Takes the frames before the first that is not whole or not good; gives their length in bytes. */
  takeGood(bytes: Uint8Array): number {
    let end = 0;
    try {
      for (const frame of readFrames(bytes)) {
        this.#take(frame, this.#next);
        end = frame.end;
      }
    } catch (error) {
      if (!(error instanceof CscError)) throw error;
    }
    return end;
  }

  #take({ commandId, stream, offset, data }: Frame, after: Map<string, number>): void {
    if (stream < OutputStream.STDOUT || stream > OutputStream.TERMINAL) {
      throw refused('a frame is of an unknown stream');
    }
    const key = `${stream} ${commandId}`;
    const expected = after.get(key) ?? this.#next.get(key) ?? 0;
    if (offset !== expected) throw refused('there is a gap in a stream');
    after.set(key, expected + data.length);
  }
}

/** What was pushed is not what it must be. */
export function refused(why: string): CscError {
  return new CscError('INTERNAL', `output was refused: ${why}`);
}

import { CscError, isCscError } from '@csc-fleet/common/errors';
import { OutputStream } from '@csc-fleet/common/messages';
import { checkIntact, type Frame, readFrames, streamKey } from '@csc-fleet/common/output-log';
import type { OutputGrant } from './grant.ts';

const outputNames = ['stdout_bytes', 'stderr_bytes', 'recording_bytes'] as const;
type Totals = Record<(typeof outputNames)[number], number>;

/** Where each stream of a log goes on: what comes next must begin there. */
export class StreamOffsets {
  readonly #next = new Map<string, number>();
  #totals: Totals = { stdout_bytes: 0, stderr_bytes: 0, recording_bytes: 0 };

  /** Where each stream goes on that has begun, by its key. */
  get next(): ReadonlyMap<string, number> {
    return this.#next;
  }

  /**
   * Checks whole frames; they count once the function that it gives is called. Throws REQUEST_INVALID for a gap, an
   * unknown command or stream, a malformed frame, and more than is granted.
   */
  check(frames: Uint8Array, { commandIds, limits }: OutputGrant): () => void {
    const after = new Map<string, number>();
    const totals = { ...this.#totals };
    let end = 0;
    for (const frame of readPushed(frames)) {
      if (!commandIds.has(frame.commandId)) throw refused('a frame is of an unknown command');
      this.#take(frame, after, totals);
      end = frame.end;
    }
    if (end !== frames.length) throw refused('it ends within a frame');
    for (const name of outputNames) {
      const most = limits[name] ?? 0;
      if (totals[name] > most) throw refused(`it is more than the ${most} ${name} of its ticket`);
    }
    return () => {
      for (const [key, offset] of after) this.#next.set(key, offset);
      this.#totals = totals;
    };
  }

  /** Takes the frames before the first that is not whole, not good or not what was written; gives their length in bytes. */
  takeGood(bytes: Uint8Array): number {
    let end = 0;
    try {
      for (const frame of readFrames(bytes)) {
        checkIntact(frame);
        this.#take(frame, this.#next, this.#totals);
        end = frame.end;
      }
    } catch (error) {
      if (!(error instanceof CscError)) throw error;
    }
    return end;
  }

  #take(frame: Frame, after: Map<string, number>, totals: Totals): void {
    const { stream, offset, data } = frame;
    if (stream < OutputStream.STDOUT || stream > OutputStream.RECORDING) {
      throw refused('a frame is of an unknown stream');
    }
    const key = streamKey(frame);
    const expected = after.get(key) ?? this.#next.get(key) ?? 0;
    if (offset !== expected) throw refused('there is a gap in a stream');
    after.set(key, expected + data.length);
    totals[nameOf(stream)] += data.length;
  }
}

// What a terminal shows counts as what would else be stdout.
function nameOf(stream: OutputStream): (typeof outputNames)[number] {
  if (stream === OutputStream.RECORDING) return 'recording_bytes';
  return stream === OutputStream.STDERR ? 'stderr_bytes' : 'stdout_bytes';
}

/** What was pushed is not what it must be. */
export function refused(why: string): CscError {
  return new CscError('REQUEST_INVALID', `frames were refused: ${why}`);
}

// Those that lie in a file of ours are another matter.
function* readPushed(frames: Uint8Array): Generator<Frame> {
  try {
    yield* readFrames(frames);
  } catch (error) {
    throw isCscError(error, 'INTERNAL') ? refused(error.message) : error;
  }
}

import { createHash, type Hash } from 'node:crypto';
import { sha256Tagged } from '../encoding/index.ts';
import type { StreamPosition } from '../messages/index.ts';

/** One command's stream, as a key. A command id is any text, so the stream's number comes first. */
export function streamKey({ commandId, stream }: Pick<StreamPosition, 'commandId' | 'stream'>): string {
  return `${stream} ${commandId}`;
}

/** Which of a command's streams a key is of. */
export function streamOfKey(key: string): number {
  return Number.parseInt(key, 10);
}

/** What was captured of one stream, of one command or of a whole contract. */
export interface StreamDigest {
  /** "sha256:" and lower-case hex, over the captured bytes. */
  readonly sha256: string;
  /** Bytes captured. */
  readonly length: number;
  /** There was more, which was read and dropped. */
  readonly truncated: boolean;
}

/** The digest of a stream of which nothing was captured. */
export const emptyDigest: StreamDigest = { sha256: sha256Tagged(''), length: 0, truncated: false };

/** Counts and hashes bytes of a stream as they come. */
export class RunningDigest {
  #hash: Hash = createHash('sha256');
  #length = 0;
  #truncated = false;

  /** Another one that goes on from what this one has so far. */
  fork(): RunningDigest {
    const fork = new RunningDigest();
    fork.#hash = this.#hash.copy();
    fork.#length = this.#length;
    fork.#truncated = this.#truncated;
    return fork;
  }

  get length(): number {
    return this.#length;
  }

  add(part: Uint8Array): void {
    this.#hash.update(part);
    this.#length += part.length;
  }

  truncate(): void {
    this.#truncated = true;
  }

  /** May be asked at any time; what comes later is not in it. */
  digest(): StreamDigest {
    const sha256 = `sha256:${this.#hash.copy().digest('hex')}`;
    return { sha256, length: this.#length, truncated: this.#truncated };
  }
}

import { CscError } from '@csc-fleet/common/errors';
import { OutputStream } from '@csc-fleet/common/messages';
import { streamKey } from '@csc-fleet/common/output-log';
import { createOpener, looksSealed, type Opener, type SealKeys } from '@csc-fleet/common/seal';
import type { OutputItem } from './items.ts';

type Chunk = Extract<OutputItem, { type: 'chunk' }>;

/** What of output is opened, and with what. */
export interface SealedReading {
  /** Absent: nothing is opened, and what is sealed comes as it is. */
  readonly keys: SealKeys | undefined;
  /** Whether all of it must be sealed. Otherwise that is seen by how a stream begins. */
  readonly isExpected: boolean;
}

interface Stream {
  readonly opener: Opener | undefined;
  /** Bytes of plaintext so far. */
  length: number;
}

const names: Readonly<Partial<Record<OutputStream, string>>> = {
  [OutputStream.STDOUT]: 'stdout',
  [OutputStream.STDERR]: 'stderr',
};

/** As many bytes as it takes to see how a stream begins. */
export const leastSeen = 8;

/** Opens the output of one execution as it comes, in the order of each stream. */
export class OutputOpener {
  readonly #reading: SealedReading;
  readonly #streams = new Map<string, Stream>();
  readonly #beginnings = new Map<string, Chunk>();

  constructor(reading: SealedReading) {
    this.#reading = reading;
  }

  /**
   * What can be shown once this item is there, perhaps nothing yet: opened, its offsets those of the opened stream.
   * Rejects with SEAL_INVALID, and with KEY_UNKNOWN where the key is not here.
   */
  async open(executionId: string, item: OutputItem): Promise<readonly OutputItem[]> {
    if (this.#reading.keys === undefined) return [item];
    const key = streamKey(item);
    if (item.type === 'end') {
      const opener = this.#streams.get(key)?.opener;
      // Its own last record says that nothing is missing, and not whoever relays the end.
      if (opener !== undefined && !opener.isWhole) return [{ ...item, truncated: true }];
      const held = this.#beginnings.get(key);
      return held === undefined ? [item] : [...this.#asItIs(key, held), item];
    }
    const known = this.#streams.get(key);
    if (known !== undefined) return this.#pass(known, item);
    const before = this.#beginnings.get(key);
    const whole = before === undefined ? item : { ...before, data: Buffer.concat([before.data, item.data]) };
    this.#beginnings.delete(key);
    if (whole.data.length < leastSeen && (this.#reading.isExpected || whole.data[0] === firstOfSealed)) {
      this.#beginnings.set(key, whole);
      return [];
    }
    if (whole.offset !== 0 || !looksSealed(whole.data)) return this.#asItIs(key, whole);
    const stream = names[item.stream] ?? '';
    const opener = createOpener(this.#reading.keys, { executionId, commandId: item.commandId, stream });
    const begun = { opener, length: 0 };
    this.#streams.set(key, begun);
    return this.#pass(begun, whole);
  }

  #asItIs(key: string, chunk: Chunk): readonly OutputItem[] {
    if (this.#reading.isExpected)
      throw new CscError(
        'SEAL_INVALID',
        'output was to be sealed and came unsealed: it is not shown, and its host did not send it so',
      );
    this.#streams.set(key, { opener: undefined, length: 0 });
    return [chunk];
  }

  async #pass(stream: Stream, chunk: Chunk): Promise<readonly OutputItem[]> {
    if (stream.opener === undefined) return [chunk];
    const data = await stream.opener.push(chunk.data);
    const offset = stream.length;
    stream.length += data.length;
    return data.length === 0 ? [] : [{ ...chunk, data, offset }];
  }
}

const firstOfSealed = 0xff;

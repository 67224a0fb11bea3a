import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { StreamPosition } from '@csc-fleet/common/messages';
import { streamKey } from '@csc-fleet/common/output-log';
import type { ExecutionEvent, OutputItem } from './items.ts';

/** How far a reader has come in an execution's events and output, so that nothing is shown twice or left out. */
export interface Progress {
  /** The next event wanted. */
  nextSequence(): number;
  positions(): StreamPosition[];
  /** False for an event that has been seen. */
  accepts(event: ExecutionEvent): boolean;
  /** What of the item has not been seen; undefined where all of it has. Throws RECEIPT_INVALID for what no execution can have. */
  unseen(item: OutputItem): OutputItem | undefined;
}

// Of 20 commands, four each. Something is kept of each, and a gate must not choose of how many.
const mostStreams = 80;
// Their ids are in one contract.
const mostIdLength = 4 * artifactBytes.contract;

/** @param from where to begin in each stream; a stream that is not named begins at `offset` */
export function createProgress(fromSequence = 1, from: readonly StreamPosition[] = [], offset = 0): Progress {
  let next = Math.max(1, fromSequence);
  const offsets = new Map(from.map((position) => [streamKey(position), position]));
  const streams = new Map<string, number>();
  const ended = new Set<string>();
  const meet = (key: string, { commandId }: Pick<OutputItem, 'commandId'>): void => {
    if (streams.has(key)) return;
    streams.set(key, commandId.length);
    const length = [...streams.values()].reduce((sum, it) => sum + it, 0);
    if (streams.size > mostStreams || length > mostIdLength)
      throw new CscError(
        'RECEIPT_INVALID',
        'the gate shows output of more commands than a contract can have: no receipt vouches for that, and none is waited for',
      );
  };
  return {
    nextSequence: () => next,
    positions: () => [...offsets.values()],
    accepts: (event) => {
      if (event.sequence < next) return false;
      next = event.sequence + 1;
      return true;
    },
    unseen: (item) => {
      const key = streamKey(item);
      meet(key, item);
      if (item.type === 'end') return ended.size < ended.add(key).size ? item : undefined;
      const seen = offsets.get(key)?.offset ?? offset;
      const end = item.offset + item.data.length;
      if (end <= seen) return undefined;
      offsets.set(key, { commandId: item.commandId, stream: item.stream, offset: end });
      if (item.offset >= seen) return item;
      return { ...item, offset: seen, data: item.data.subarray(seen - item.offset) };
    },
  };
}

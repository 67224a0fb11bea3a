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
  /** What of the item has not been seen; undefined where all of it has. */
  unseen(item: OutputItem): OutputItem | undefined;
}

/** @param from where to begin in each stream; a stream that is not named begins at `offset` */
export function createProgress(fromSequence = 1, from: readonly StreamPosition[] = [], offset = 0): Progress {
  let next = Math.max(1, fromSequence);
  const offsets = new Map(from.map((position) => [streamKey(position), position]));
  const ended = new Set<string>();
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

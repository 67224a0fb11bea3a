import { type Duration, toMilliseconds } from '@csc-fleet/common/messages';

/** In milliseconds. */
export interface Bounds {
  readonly least: number;
  readonly most: number;
  /** Where the gate says nothing. */
  readonly otherwise: number;
}

/**
 * A time that the gate chooses, held within bounds of this host's: a timer of Node's that is set to less than nothing, to
 * NaN or to more than 2³¹ − 1 ms fires at once.
 */
export function boundedMs(duration: Duration | undefined, { least, most, otherwise }: Bounds): number {
  if (duration === undefined) return otherwise;
  const wanted = toMilliseconds(duration);
  return Number.isNaN(wanted) ? otherwise : Math.min(Math.max(wanted, least), most);
}

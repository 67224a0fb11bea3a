import type { Duration } from '../gen/google/protobuf/duration.ts';

/** A protobuf Duration of some milliseconds, which must not be negative. */
export function toDuration(milliseconds: number): Duration {
  const seconds = Math.floor(milliseconds / 1000);
  const nanos = Math.round((milliseconds - seconds * 1000) * 1e6);
  return nanos === 1e9 ? { seconds: seconds + 1, nanos: 0 } : { seconds, nanos };
}

/** The milliseconds of a protobuf Duration; 0 for none. */
export function toMilliseconds(duration: Duration | undefined): number {
  return duration === undefined ? 0 : duration.seconds * 1000 + duration.nanos / 1e6;
}

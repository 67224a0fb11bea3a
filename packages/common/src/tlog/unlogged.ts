/** A receipt is in the log at most so long after it has ended, where all is well; and clocks differ. Milliseconds. */
export const loggedWithinMs = 5 * 60_000;

/**
 * What the time of a receipt that a log does not have says of it. `due`: it was accepted long since, or never. `young`: it may be
 * on its way. `ahead`: it is of a time that was yet to come, so that it would be young for as long as its host likes.
 * @param endedAt ISO 8601, by the host's clock
 * @param atMs when the log was as it is, milliseconds since the epoch
 */
export function ageUnlogged(endedAt: string, atMs: number): 'due' | 'young' | 'ahead' {
  const ageMs = atMs - Date.parse(endedAt);
  if (ageMs < -loggedWithinMs) return 'ahead';
  return ageMs > loggedWithinMs ? 'due' : 'young';
}

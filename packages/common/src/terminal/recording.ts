/**
 * The most that the recording of a terminal takes, in bytes, of which so many of its output are kept: what is typed, the
 * times and what JSON escapes come beside that. Where it would be more, the recording ends before the run does.
 */
export function recordingBytes(outputBytes: number): number {
  return 2 * outputBytes + 65_536;
}

import { OutputStream } from '@csc-fleet/common/messages';

/** The streams of a command that are captured. */
export type CapturedStream = 'stdout' | 'stderr';

export const capturedStreams: readonly CapturedStream[] = ['stdout', 'stderr'];

/** As a frame names them. */
export const streamNumbers: Readonly<Record<CapturedStream, OutputStream>> = {
  stdout: OutputStream.STDOUT,
  stderr: OutputStream.STDERR,
};

import { OutputStream } from '@csc-fleet/common/messages';

/** The streams of a command that are captured. */
export type CapturedStream = 'stdout' | 'stderr' | TerminalStream;

/** Those of a terminal: what it shows, and the recording that is made of that. */
export type TerminalStream = 'terminal' | 'recording';

/** What was captured of each; of a terminal only where there was one. */
export type Captured<T> = Readonly<Record<'stdout' | 'stderr', T>> &
  Readonly<Partial<Record<TerminalStream, T>>>;

export const terminalStreams: readonly TerminalStream[] = ['terminal', 'recording'];

/** As a frame names them. */
export const streamNumbers: Readonly<Record<CapturedStream, OutputStream>> = {
  stdout: OutputStream.STDOUT,
  stderr: OutputStream.STDERR,
  terminal: OutputStream.TERMINAL,
  recording: OutputStream.RECORDING,
};

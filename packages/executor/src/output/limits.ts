const mebibyte = 1024 * 1024;

/** How much output this host keeps. */
export interface OutputLimits {
  /** Captured of a contract's stdout, in bytes; the rest is read and dropped. */
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  /** All output logs on this host together, in bytes: an offer that might not fit is refused. */
  readonly spoolBytes: number;
}

/** What holds where nothing else is said. */
export const defaultOutputLimits: OutputLimits = {
  stdoutBytes: 10 * mebibyte,
  stderrBytes: mebibyte,
  spoolBytes: 4096 * mebibyte,
};

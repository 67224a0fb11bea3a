/**
 * What processes end with that stand for a run, or are csc: of sysexits.h from 64 to 78, and as a shell says it of a signal
 * (128 and its number). `csc help exit-codes` prints what each means.
 */
export const exitCodes = {
  ok: 0,
  /** Denied, failed, invalid: the answer is no. */
  no: 1,
  needsApproval: 2,
  usage: 64,
  unavailable: 69,
  internal: 70,
  /** EX_CANTCREAT: an expected output that was asked for is not there. */
  outputsMissing: 73,
  /** EX_IOERR: it worked, and some of its output is lost. */
  outputCut: 74,
  notPermitted: 77,
  badConfig: 78,
  interrupted: 130,
  brokenPipe: 141,
} as const;

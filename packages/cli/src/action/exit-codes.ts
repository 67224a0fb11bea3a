import { CscError, exitCodes, retryOf } from '@csc-fleet/common/errors';

export { exitCodes };

const byCode: Readonly<Partial<Record<CscError['code'], number>>> = {
  GATE_UNREACHABLE: exitCodes.unavailable,
  CA_UNREACHABLE: exitCodes.unavailable,
  DEADLINE_EXCEEDED: exitCodes.unavailable,
  NO_MATCHING_EXECUTOR: exitCodes.unavailable,
  SANDBOX_UNAVAILABLE: exitCodes.unavailable,
  LOG_MISSING: exitCodes.unavailable,
  NO_CREDENTIALS: exitCodes.notPermitted,
  CREDENTIALS_INVALID: exitCodes.notPermitted,
  JOIN_REFUSED: exitCodes.notPermitted,
  NOT_PERMITTED: exitCodes.notPermitted,
  HOST_CEILING_EXCEEDED: exitCodes.notPermitted,
  CONFIG_INVALID: exitCodes.badConfig,
  INTERNAL: exitCodes.internal,
  CANCELLED: exitCodes.interrupted,
};

/** The exit code of an error that ended a command. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof CscError)) return exitCodes.internal;
  return byCode[error.code] ?? (retryOf(error.code) === 'later' ? exitCodes.unavailable : exitCodes.no);
}

/** The text of `csc help exit-codes`. */
export const exitCodesTopic = `Exit codes of csc

    0    it worked, it is allowed, it is valid
    1    denied, failed or invalid
    2    an approval is needed
   64    the command line is wrong
   69    the gate, an executor, the sandbox or a demanded witness is not available; a retry may help
   70    an internal error
   73    it worked, and an expected output is not there, though outputs are required
   74    it worked, and its output was cut, so that some of it is lost (csc submit --allow-truncated: 0)
   77    the credentials are not accepted, or not permitted to do this
   78    a configuration file or this Node.js cannot be used
  130    interrupted, or left while it goes on (Ctrl-C, ~.)
  141    the reader of our output went away

csc submit ends with the exit code of the command that it ran: of the one that failed, or of the last one. A command
that a signal ended counts as 128 and the signal's number (137: SIGKILL). As from a shell, 124 is a time-out, 126 a
command that cannot be run or a refused working directory, 127 a command that is not there. Denied is 1, an approval
that is missing is 2; --json tells these apart from a command that ended with 1 or 2. Where the log of receipts is demanded
(--log-vkey), 69 with LOG_MISSING says that the command has run, and that its receipt is not proven yet: the message says how
it ended, and csc get asks once more.

csc check, csc run and csc verify-receipt end with 0, 1 or 2 only (64 for a wrong command line): csc run with 1 for
whatever way the command failed. The receipt has the command's own exit code.
`;

import type { ExecutionRow } from '../store/tables.ts';

/** Captured of one execution, in bytes; a host may capture less, never more. */
export interface StreamLimits {
  readonly stdout_bytes: number;
  readonly stderr_bytes: number;
}

/** What an execution's output may be: its host is held to the ticket here, too. */
export interface OutputGrant {
  /** Those that the contract has. */
  readonly commandIds: ReadonlySet<string>;
  /** Bytes of the whole contract's stdout, and of its stderr. */
  readonly limits: StreamLimits;
}

const mebibyte = 1024 * 1024;

/** The limits of the ticket that an execution was offered with; `otherwise` for one that was offered by an older gate. */
export function outputLimitsOf(
  { limits_json: limits }: Pick<ExecutionRow, 'limits_json'>,
  otherwise: StreamLimits,
): StreamLimits {
  return limits === null ? otherwise : (JSON.parse(limits) as StreamLimits);
}

/** The longest that an output log may be, in bytes: heads of frames count, as a host counts them. */
export function maxLogLength({ stdout_bytes: stdout, stderr_bytes: stderr }: StreamLimits): number {
  return 2 * (stdout + stderr) + mebibyte;
}

import { recordingBytes } from '@csc-fleet/common/terminal';
import type { ExecutionRow } from '../store/tables.ts';

/** Captured of one execution, in bytes; a host may capture less, never more. */
export interface StreamLimits {
  readonly stdout_bytes: number;
  readonly stderr_bytes: number;
  /** Of the recording of its terminal. Absent: it has none. */
  readonly recording_bytes?: number;
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
  { limits_json: limits, terminal_json: terminal }: Pick<ExecutionRow, 'limits_json' | 'terminal_json'>,
  otherwise: StreamLimits,
): StreamLimits {
  const granted = limits === null ? otherwise : (JSON.parse(limits) as StreamLimits);
  if (terminal === null) return granted;
  return { ...granted, recording_bytes: recordingBytes(granted.stdout_bytes) };
}

/** The longest that an output log may be, in bytes: heads of frames count, as a host counts them. */
export function maxLogLength({
  stdout_bytes: stdout,
  stderr_bytes: stderr,
  recording_bytes: recording = 0,
}: StreamLimits): number {
  return 2 * (stdout + stderr + recording) + mebibyte;
}

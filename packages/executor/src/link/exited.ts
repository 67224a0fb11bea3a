import { type CommandResult, EndedBy, OutputStream } from '@csc-fleet/common/messages';
import type { Ending } from '@csc-fleet/common/receipt';
import { type CapturedStream, capturedStreams } from '../output/index.ts';
import type { CommandOutcome } from '../run/run-command.ts';

const endedBy: Readonly<Record<Ending, EndedBy>> = {
  exit: EndedBy.EXIT,
  signal: EndedBy.SIGNAL,
  timeout: EndedBy.TIMEOUT,
  cancelled: EndedBy.CANCELLED,
  output_limit: EndedBy.OUTPUT_LIMIT,
  out_of_memory: EndedBy.OUT_OF_MEMORY,
  executor_restart: EndedBy.EXECUTOR_RESTART,
  refused: EndedBy.REFUSED,
};

const streams: Readonly<Record<CapturedStream, OutputStream>> = {
  stdout: OutputStream.STDOUT,
  stderr: OutputStream.STDERR,
};

/** How a command went, as the link says it. */
export function toExited(outcome: CommandOutcome): CommandResult {
  const { commandId, ended, exitCode, signal, startedAt, endedAt, error, output } = outcome;
  return {
    commandId,
    endedBy: endedBy[ended],
    ...(exitCode === undefined || ended === 'signal' ? {} : { exitCode }),
    signal: signal ?? '',
    startedAt,
    endedAt,
    outputs: capturedStreams.map((stream) => ({ commandId, stream: streams[stream], ...output[stream] })),
    error: error ?? '',
  };
}

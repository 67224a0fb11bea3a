import type { Command } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import { toDraft } from '../evidence/index.ts';
import { toExited } from '../link/exited.ts';
import type { Outbox } from '../link/outbox.ts';
import { type Execution, type Trace, tracePlace, writtenSoFar } from './execution.ts';
import type { Host } from './host.ts';
import { prepareCommand } from './prepare-command.ts';
import {
  type CommandContext,
  type CommandOutcome,
  endingOf,
  hasSucceeded,
  notRun,
  runCommand,
} from './run-command.ts';

/** The commands of a contract, in order, up to the first that fails. What came of them is in the trace. Never rejects. */
export async function runCommands(execution: Execution, host: Host, outbox: Outbox): Promise<void> {
  const { run, subject, trace } = execution;
  const { commands } = subject.contract;
  for (const [index, command] of commands.entries()) {
    const outcome = await runOne(execution, index, command, host, outbox).catch((error: unknown) => {
      host.log.error({ executionId: run.executionId, error }, 'a command could not be seen to its end');
      run.stop('cancelled', 0);
      return notRun(command, execution.spool, {
        ended: 'refused',
        exitCode: 126,
        error: 'the executor itself failed',
      });
    });
    trace.outcomes.push(outcome);
    outbox.post({ $case: 'exited', value: { executionId: run.executionId, result: toExited(outcome) } });
    const next = commands[index + 1];
    if (next === undefined || !hasSucceeded(outcome)) return;
    keepProgress(execution, next, host);
  }
}

async function runOne(
  execution: Execution,
  index: number,
  command: Command,
  host: Host,
  outbox: Outbox,
): Promise<CommandOutcome> {
  const { run, spool, first, granted, trace } = execution;
  const { executionId } = run;
  const onStarted = () =>
    outbox.post({ $case: 'commandStarted', value: { executionId, commandId: command.id, index } });
  const context = () => ({
    ...{ run, spool, clock: host.clock, secrets: granted.secrets, onStarted },
    writes: toWrites(trace),
  });
  if (index === 0) return runCommand(first, context());
  if (run.stopReason !== undefined)
    return notRun(command, spool, { ended: endingOf(run.stopReason), error: 'it was never started' });
  try {
    const prepared = prepareCommand(command, granted, host);
    tracePlace(trace, prepared);
    return await runCommand(prepared, context());
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    return notRun(command, spool, { ended: 'refused', exitCode: 126, error: error.message });
  }
}

function toWrites({ writableRoots: roots, since, measurer, outcomes }: Trace): CommandContext['writes'] {
  return {
    ...{ roots, measurer, before: writtenSoFar(outcomes) },
    ...(since === undefined ? {} : { since }),
  };
}

// Not waited for: if it is lost, the receipt after a crash says less, and nothing untrue.
function keepProgress({ run, subject, trace }: Execution, next: Command, host: Host): void {
  host.journal.progress(run.executionId, toDraft(subject, { ...trace, next })).catch((error: unknown) => {
    host.log.warn({ executionId: run.executionId, error }, 'progress could not be journalled');
  });
}

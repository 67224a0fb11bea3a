import type { Command } from '@csc-fleet/common/contract';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { Log } from '@csc-fleet/common/service';
import type { Tracing } from '@csc-fleet/common/tracing';
import { type CommandOutcome, hasSucceeded, toDraft, writtenSoFar } from '../evidence/index.ts';
import type { Journal } from '../journal/index.ts';
import type { LiveRun } from './live-run.ts';
import { type CommandContext, endingOf, notRun, runCommand } from './one-command.ts';
import { type Site, siteOfRun } from './prepare.ts';
import { buildUntilReady, type RedeemedRun } from './redeem.ts';

/** Told of each command as it goes. */
export interface RunEvents {
  commandStarted(command: Command, index: number): void;
  commandExited(outcome: CommandOutcome): void;
}

/** What running takes. */
export interface RunPorts {
  readonly site: Site;
  readonly journal: Pick<Journal, 'progress'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

/** The commands of a contract, in order, up to the first that fails. What came of them is in the record. Never rejects. */
export async function runInOrder(
  redeemed: RedeemedRun,
  run: LiveRun,
  ports: RunPorts,
  events: RunEvents,
): Promise<void> {
  const { subject, record, spool } = redeemed;
  const { commands } = subject.contract;
  for (const [index, command] of commands.entries()) {
    const onStarted = () => events.commandStarted(command, index);
    const span = ports.tracing?.begin('csc.executor.command', {
      parent: run.trace,
      facts: { 'csc.execution.id': run.executionId, 'csc.command.index': index },
    });
    const outcome = await runOne(redeemed, index, command, run, ports, onStarted).catch((error: unknown) => {
      ports.log.error({ executionId: run.executionId, error }, 'a command could not be seen to its end');
      run.stop('cancelled', 0);
      return notRun(command, spool, { ended: 'refused', exitCode: 126, error: 'the executor itself failed' });
    });
    span?.note({ 'csc.outcome': outcome.ended });
    span?.end(hasSucceeded(outcome) ? undefined : outcome.ended);
    record.outcomes.push(outcome);
    events.commandExited(outcome);
    const next = commands[index + 1];
    if (next === undefined || !hasSucceeded(outcome)) return;
    keepProgress(redeemed, next, ports);
  }
}

async function runOne(
  redeemed: RedeemedRun,
  index: number,
  command: Command,
  run: LiveRun,
  ports: RunPorts,
  onStarted: () => void,
): Promise<CommandOutcome> {
  const { site, clock } = ports;
  const { spool, first, allowance, record } = redeemed;
  const context = (): CommandContext => ({
    run,
    spool,
    clock,
    secrets: allowance.secrets,
    terminal: allowance.terminal,
    onStarted,
    sealTo: redeemed.subject.sealTo,
    writes: toWrites(redeemed),
  });
  if (index === 0 && first.process !== undefined) return runCommand(first, context());
  if (run.stopReason !== undefined)
    return notRun(command, spool, { ended: endingOf(run.stopReason), error: 'it was never started' });
  try {
    const prepared = await buildUntilReady(command, redeemed, siteOfRun(site, run.executionId), run.signal);
    record.addPlace(prepared.place);
    // What the journal has from the redeem says nothing of the paths that were made since.
    if (index === 0) keepProgress(redeemed, command, ports);
    return await runCommand(prepared, context());
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    return notRun(command, spool, { ended: 'refused', exitCode: 126, error: error.message });
  }
}

function toWrites({ record, since }: RedeemedRun): CommandContext['writes'] {
  const { writableRoots: roots, measurer, outcomes } = record;
  return {
    roots,
    measurer,
    before: writtenSoFar(outcomes),
    ...(since === undefined ? {} : { since }),
  };
}

// Not waited for: if it is lost, the receipt after a crash says less, and nothing untrue.
function keepProgress({ subject, record }: RedeemedRun, next: Command, { journal, log }: RunPorts): void {
  const { execution_id: executionId } = subject.ticket;
  journal.progress(executionId, toDraft(subject, record, next)).catch((error: unknown) => {
    log.warn({ executionId, error }, 'progress could not be journalled');
  });
}

import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import type { Identity } from '@csc-fleet/common/identity';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { Advance, Happening, LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import { executorName } from '../execution/row.ts';

export interface ProgressPorts {
  readonly clock: Clock;
  /** Told of what could not be written, as nobody waits for it. */
  readonly onError: (error: unknown) => void;
}

/** An open execution of this executor; undefined for any other, whoever it belongs to. */
export function findOwn(
  executions: Pick<Executions, 'openById'>,
  executor: Identity,
  executionId: string,
): LiveExecution | undefined {
  const execution = executions.openById(executionId);
  return execution?.row.executor_id === executor.uri ? execution : undefined;
}

// A person does not see this, and a short run has all of its progress in one commit with its end.
const withinMs = 20;

/** The executor has redeemed the ticket: it runs from now on. Does nothing where that is known. */
export function takeAccepted(ports: ProgressPorts, execution: LiveExecution, notes: readonly string[]): void {
  if (execution.row.state !== ExecutionState.OFFERED) return;
  const token = execution.row.submission_token === null ? {} : { submission_token: null };
  const change = { ...token, state: ExecutionState.RUNNING, started_at: toTimestamp(ports.clock.now()) };
  const executorId = executorName(execution.row.executor_id);
  const started: Happening = { $case: 'started', value: { executorId, notes: [...notes] } };
  advance(ports, execution, { change, happened: [started] });
}

// Each is two events, with the LOST before it, which are kept in memory and for ever; an executor can come and go, and say
// now that it has it, now that it has not, as often as it likes.
const mostReturns = 8;

/**
 * Its executor is back after it was LOST, and still has it: it runs, or its receipt comes. Does nothing for any other, nor
 * once it has come back too often: then only its receipt is awaited.
 * Resolves once that is on disk: whoever asks from then on is not told that it is LOST.
 */
export async function takeReturned(
  { clock }: Pick<ProgressPorts, 'clock'>,
  execution: LiveExecution,
): Promise<void> {
  const { state, started_at: startedAt, executor_id: executor } = execution.row;
  if (state !== ExecutionState.LOST || execution.timesReturned >= mostReturns) return;
  const executorId = executorName(executor);
  const change = {
    state: ExecutionState.RUNNING,
    started_at: startedAt ?? toTimestamp(clock.now()),
    error: '',
  };
  const returned: Happening = { $case: 'returned', value: { executorId } };
  const started: Happening = { $case: 'started', value: { executorId, notes: [] } };
  const happened = startedAt === null ? [returned, started] : [returned];
  await execution.advance(clock.now(), { change, happened, irrevocable: true });
}

/** What is said of a command: once for each, as events are kept in memory and for ever. */
export async function takeProgress(
  ports: ProgressPorts,
  execution: LiveExecution,
  commandId: string,
  happening: Happening,
): Promise<void> {
  if (execution.terminal) return;
  const known = await execution.commandIds();
  if (!known.has(commandId) || !execution.isFirst(happening.$case, commandId)) return;
  advance(ports, execution, { happened: [happening] });
}

// It need not be on disk before the next message is taken: what was asked for first is written first.
function advance({ clock, onError }: ProgressPorts, execution: LiveExecution, step: Advance): void {
  execution.advance(clock.now(), { ...step, withinMs, irrevocable: true }).catch(onError);
}

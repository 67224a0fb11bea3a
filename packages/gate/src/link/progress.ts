import { toTimestamp } from '@csc-fleet/common/encoding';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { Advance, Happening, LiveExecution } from '../execution/execution.ts';
import { executorName } from '../execution/executor-name.ts';
import type { GateContext } from '../service/context.ts';

// A person does not see this, and a short run has all of its progress in one commit with its end.
const withinMs = 20;

/** The executor has redeemed the ticket: it runs from now on. Does nothing where that is known. */
export function takeAccepted(gate: GateContext, execution: LiveExecution, notes: readonly string[]): void {
  if (execution.row.state !== ExecutionState.OFFERED) return;
  const change = { state: ExecutionState.RUNNING, started_at: toTimestamp(gate.clock.now()) };
  const executorId = executorName(execution.row.executor_id);
  const started: Happening = { $case: 'started', value: { executorId, notes: [...notes] } };
  advance(gate, execution, { change, happened: [started] });
}

/** What is said of a command: once for each, as events are kept in memory and for ever. */
export async function takeProgress(
  gate: GateContext,
  execution: LiveExecution,
  commandId: string,
  happening: Happening,
): Promise<void> {
  if (execution.terminal) return;
  const known = await execution.commandIds();
  if (!known.has(commandId) || !execution.isFirst(happening.$case, commandId)) return;
  advance(gate, execution, { happened: [happening] });
}

// It need not be on disk before the next message is taken: what was asked for first is written first.
function advance(gate: GateContext, execution: LiveExecution, step: Advance): void {
  execution.advance(gate.clock.now(), { ...step, withinMs, irrevocable: true }).catch(gate.onError);
}

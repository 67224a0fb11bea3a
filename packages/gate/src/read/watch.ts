import type { ExecutionEvent } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';

/**
 * The events of an execution from a sequence number on (0 and 1: all), past ones first; ends after Finished, or where
 * `abort` fires.
 */
export async function* watch(
  execution: LiveExecution,
  fromSequence: number,
  abort?: AbortSignal,
): AsyncGenerator<ExecutionEvent> {
  for (let next = Math.max(0, fromSequence - 1); ; ) {
    for (const event of execution.events.slice(next)) {
      next++;
      yield event;
    }
    if (execution.events.length > next) continue;
    if (execution.finished || abort?.aborted === true) return;
    await execution.changed(abort);
  }
}

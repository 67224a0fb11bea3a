import { ExecutionEvent, ExecutionState, type SubmitRequest } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import { encodeItem, itemField } from '../output/encode-item.ts';
import { readOutput } from '../output/reader.ts';
import type { GateContext } from '../service/context.ts';
import { submit } from '../submit.ts';
import { watch } from './watch.ts';

/** Takes one encoded message; resolves when there is room for the next. */
export type Write = (message: Uint8Array) => Promise<void>;

/**
 * Submit, then everything that happens to the execution and all of its output, as it comes; the Finished event is
 * the last, after all output. An execution that waits for approval ends the stream: nothing may happen for days.
 * Where `abort` fires the stream ends, and the run goes on. Throws what submit throws.
 */
export async function run(
  gate: GateContext,
  principal: string,
  request: SubmitRequest,
  write: Write,
  abort: AbortSignal,
): Promise<void> {
  const { execution } = await submit(gate, principal, request);
  const send = (event: ExecutionEvent): Promise<void> =>
    write(encodeItem(itemField.event, ExecutionEvent.encode(event).finish()));
  if (execution.row.state === ExecutionState.AWAITING_APPROVAL) {
    for (const event of execution.events) await send(event);
    return;
  }
  const output = relayOutput(gate, execution, write, abort);
  // Looked at below; until then a failure must not count as unhandled.
  output.catch(() => undefined);
  for await (const event of watch(execution, 0, abort)) {
    if (event.event?.$case === 'finished') await output;
    await send(event);
  }
  await output;
}

async function relayOutput(
  gate: GateContext,
  execution: LiveExecution,
  write: Write,
  abort: AbortSignal,
): Promise<void> {
  await gate.output.with(execution.id, async (log) => {
    for await (const item of readOutput(log, execution, { from: [], follow: true }, abort)) {
      if (abort.aborted) return;
      await write(item);
    }
  });
}

import { toExecutionEvent } from '@csc-fleet/client/events';
import { createSession, type RunHandlers } from '@csc-fleet/client/session';
import { CscError } from '@csc-fleet/common/errors';
import type { SubmitResponse } from '@csc-fleet/common/messages';
import { frameTag, readFrames } from '@csc-fleet/common/output-log';
import { parseReceipt } from '@csc-fleet/common/receipt';
import type { Gate } from '@csc-fleet/gate/compose';
import type { Outcome } from '../submit/outcome.ts';
import { localPrincipal } from './gate.ts';

/** Shows an execution of a gate in this process to its end. */
export async function followLocal(
  gate: Gate,
  { executionId, decision }: SubmitResponse,
  handlers: RunHandlers,
  receiptVersion: string,
): Promise<Outcome> {
  const session = createSession(handlers, receiptVersion, executionId);
  const showOutput = async (encoded: Uint8Array): Promise<void> => {
    // Other messages say what the receipt says too.
    if (encoded[0] !== frameTag) return;
    for (const { data, ...frame } of readFrames(encoded)) {
      const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
      await session.output({ type: 'chunk', ...frame, data: bytes });
    }
  };
  const output = gate.readOutput(localPrincipal, { executionId, from: [], follow: true }, showOutput);
  output.catch(() => {});
  for await (const wire of gate.watch(localPrincipal, { executionId, fromSequence: 1 })) {
    const event = toExecutionEvent(wire);
    if (event?.type === 'finished') await output;
    if (event !== undefined) await session.event(event);
  }
  const finished = session.finished();
  if (finished?.execution === undefined) throw new CscError('INTERNAL', 'the run ended without an end');
  const { execution, receiptJson } = finished;
  const parsed = parseReceipt(receiptJson);
  const receipt = parsed.ok ? parsed.value : undefined;
  if (receipt !== undefined) session.outputCheck.verify(receipt);
  return { executionId, execution, decision, receipt, receiptJson, exitCode: receipt?.exit_code };
}

import { type Session, toExecutionEvent } from '@csc-fleet/client/offline';
import { CscError } from '@csc-fleet/common/errors';
import type { Execution } from '@csc-fleet/common/messages';
import { frameTag, readFrames } from '@csc-fleet/common/output-log';
import type { Gate } from '@csc-fleet/gate/compose';
import { localPrincipal } from './gate.ts';

/** What the gate says of an execution's end; what of it is so, the receipt says. */
export interface Told {
  readonly execution: Execution;
  readonly receiptJson: Buffer;
}

/** Hands the session all that comes of an execution of a gate in this process, to its end. */
export async function followLocal(gate: Gate, session: Session, executionId: string): Promise<Told> {
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
  return { execution, receiptJson };
}
